package controlplane

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"net"
	"time"

	noop "go.opentelemetry.io/otel/trace/noop"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver"
	crdoptions "k8s.io/apiextensions-apiserver/pkg/cmd/server/options"
	generated "k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/util/compatibility"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/rest"

	"assay.bench/internal/controlplane/coreapi"
	"assay.bench/internal/controlplane/statedir"
)

// stopGrace is how long open watches may take to end when the server stops.
const stopGrace = 2 * time.Second

// apiServer is the API server before it runs.
type apiServer struct {
	*apiserver.CustomResourceDefinitions
	core *coreapi.API
}

// newAPIServer builds the API server: CustomResourceDefinitions, and the built-in kinds of coreapi.
func newAPIServer(socket string, l net.Listener, id *statedir.Identity, now func() time.Time) (*apiServer, error) {
	guard := &coreapi.NamespaceGuard{}
	c := genericserver.NewRecommendedConfig(apiserver.Codecs)
	if err := serve(&c.Config, l, id, now()); err != nil {
		return nil, err
	}
	c.EffectiveVersion = compatibility.DefaultBuildEffectiveVersion()
	c.Authentication.Authenticator = group.NewAuthenticatedGroupAdder(bearertoken.New(oneToken(id.Token)))
	authorizer := authorizerfactory.NewPrivilegedGroups(user.SystemPrivilegedGroup)
	c.Authorization.Authorizer = authorizer
	c.AdmissionControl = guard
	c.EnableProfiling, c.EnableMetrics = false, false
	c.ShutdownWatchTerminationGracePeriod = stopGrace
	c.MergedResourceConfig = apiserver.DefaultAPIResourceConfigSource()
	c.OpenAPIV3Config = genericserver.DefaultOpenAPIV3Config(coreapi.Definitions(generated.GetOpenAPIDefinitions),
		openapinamer.NewDefinitionNamer(apiserver.Scheme, coreapi.NewExternalScheme()))

	etcd := etcdOptions(socket)
	if err := etcd.ApplyTo(&c.Config); err != nil {
		return nil, err
	}
	config := apiserver.Config{GenericConfig: c, ExtraConfig: apiserver.ExtraConfig{
		CRDRESTOptionsGetter: crdoptions.NewCRDRESTOptionsGetter(*etcd, nil, c.StorageObjectCountTracker),
		MasterCount:          1,
		AuthResolverWrapper: webhook.NewDefaultAuthenticationInfoResolverWrapper(nil, nil, c.LoopbackClientConfig,
			noop.NewTracerProvider()),
	}}
	crds, err := config.Complete().New(genericserver.NewEmptyDelegate())
	if err != nil {
		return nil, err
	}
	gs := crds.GenericAPIServer
	gs.ShutdownTimeout = stopGrace
	core, err := coreapi.Install(gs, coreapi.Config{
		Backend: etcd.StorageConfig, Authorizer: authorizer, Guard: guard, Now: now,
	})
	if err != nil {
		return nil, err
	}
	gs.Handler.GoRestfulContainer.Add(rootDiscovery(gs, crds))
	return &apiServer{CustomResourceDefinitions: crds, core: core}, nil
}

// serve sets up TLS on the listener, and the client configuration of the server itself. The library's own way to the
// latter makes two RSA keys at each start, which takes up to a second.
func serve(c *genericserver.Config, l net.Listener, id *statedir.Identity, now time.Time) error {
	cert, key, err := id.ServingCert(now)
	if err != nil {
		return err
	}
	content, err := dynamiccertificates.NewStaticCertKeyContent("serving", cert, key)
	if err != nil {
		return err
	}
	c.SecureServing = &genericserver.SecureServingInfo{Listener: l, Cert: content, MinTLSVersion: tls.VersionTLS12}
	c.LoopbackClientConfig = &rest.Config{
		Host:            "https://" + l.Addr().String(),
		TLSClientConfig: rest.TLSClientConfig{CAData: id.CACert},
		BearerToken:     rand.Text(),
		QPS:             -1,
	}
	return nil
}

// etcdOptions are for a store without a watch cache: every read sees the last write, and a watch that begins with the
// existing objects gets them at once.
func etcdOptions(socket string) *genericoptions.EtcdOptions {
	storage := storagebackend.NewDefaultConfig("/registry", apiserver.Codecs.LegacyCodec(apiextensionsv1.SchemeGroupVersion))
	storage.Transport.ServerList = []string{"unix://" + socket}
	storage.CountMetricPollPeriod, storage.DBMetricPollInterval = 0, 0
	o := genericoptions.NewEtcdOptions(storage)
	o.StorageConfig.CountMetricPollPeriod = 0
	o.EnableWatchCache = false
	// Nothing here would remove the finalizers of foreground and orphan deletions.
	o.EnableGarbageCollection = false
	o.SkipHealthEndpoints = true
	return o
}

// oneToken lets the holder of the token be the administrator. It takes the same time for every wrong token.
func oneToken(token string) authenticator.Token {
	want := sha256.Sum256([]byte(token))
	admin := &user.DefaultInfo{Name: "assay", Groups: []string{user.SystemPrivilegedGroup}}
	return authenticator.TokenFunc(func(_ context.Context, token string) (*authenticator.Response, bool, error) {
		got := sha256.Sum256([]byte(token))
		if subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
			return nil, false, nil
		}
		return &authenticator.Response{User: admin}, true, nil
	})
}
