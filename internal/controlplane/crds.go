package controlplane

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset/typed/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
)

// hashAnnotation holds the hash of an installed definition, so that a restart with the same API writes nothing.
const hashAnnotation = "assay.bench/definition-sha256"

// installer brings the definitions into the API server and waits until they serve.
type installer struct {
	client v1.CustomResourceDefinitionInterface
	rest   rest.Interface
	server *apiServer
	now    func() time.Time
}

func (i installer) run(ctx context.Context, crds []*apiextensionsv1.CustomResourceDefinition) error {
	for _, crd := range crds {
		if err := i.install(ctx, crd); err != nil {
			return fmt.Errorf("CustomResourceDefinition %s: %w", crd.Name, err)
		}
	}
	for _, crd := range crds {
		if err := i.establish(ctx, crd.Name); err != nil {
			return fmt.Errorf("CustomResourceDefinition %s: %w", crd.Name, err)
		}
	}
	return poll(ctx, slow, func() (bool, error) { return i.discovered(ctx, crds), nil })
}

func (i installer) install(ctx context.Context, crd *apiextensionsv1.CustomResourceDefinition) error {
	text, err := json.Marshal(crd.Spec)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	metav1.SetMetaDataAnnotation(&crd.ObjectMeta, hashAnnotation, hex.EncodeToString(sum[:]))
	stored, err := i.client.Get(ctx, crd.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = i.client.Create(ctx, crd, metav1.CreateOptions{})
		return err
	}
	if err != nil || stored.Annotations[hashAnnotation] == crd.Annotations[hashAnnotation] {
		return err
	}
	crd.ResourceVersion = stored.ResourceVersion
	_, err = i.client.Update(ctx, crd, metav1.UpdateOptions{})
	return err
}

// establish waits until the definition is Established, and then dates that back: the server lets the first create of
// a definition that was established less than two seconds ago sleep for two seconds, for the sake of other servers.
func (i installer) establish(ctx context.Context, name string) error {
	lister := i.server.Informers.Apiextensions().V1().CustomResourceDefinitions().Lister()
	dated := false
	return poll(ctx, fast, func() (bool, error) {
		crd, err := lister.Get(name)
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if err := refusal(crd); err != nil {
			return false, err
		}
		if !apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Established) {
			return false, nil
		}
		if i.settled(crd) {
			return true, nil
		}
		if !dated {
			dated = true
			return false, i.dateBack(ctx, name)
		}
		return false, nil
	})
}

// refusal says why a definition will never be established, if that is so.
func refusal(crd *apiextensionsv1.CustomResourceDefinition) error {
	for _, c := range crd.Status.Conditions {
		if (c.Type == apiextensionsv1.NonStructuralSchema && c.Status == apiextensionsv1.ConditionTrue) ||
			(c.Type == apiextensionsv1.NamesAccepted && c.Status == apiextensionsv1.ConditionFalse) {
			return fmt.Errorf("%s: %s", c.Reason, c.Message)
		}
	}
	return nil
}

func (i installer) settled(crd *apiextensionsv1.CustomResourceDefinition) bool {
	established := apihelpers.FindCRDCondition(crd, apiextensionsv1.Established)
	return i.now().Sub(established.LastTransitionTime.Time) > 3*time.Second
}

func (i installer) dateBack(ctx context.Context, name string) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		crd, err := i.client.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		apihelpers.FindCRDCondition(crd, apiextensionsv1.Established).LastTransitionTime = metav1.NewTime(i.now().Add(-time.Hour))
		_, err = i.client.UpdateStatus(ctx, crd, metav1.UpdateOptions{})
		return err
	})
}

// discovered says whether a client that starts now finds every definition: its resource in the discovery document,
// and its schema in the OpenAPI index, which kubectl asks before it applies.
func (i installer) discovered(ctx context.Context, crds []*apiextensionsv1.CustomResourceDefinition) bool {
	for _, crd := range crds {
		for _, version := range crd.Spec.Versions {
			var list metav1.APIResourceList
			if !i.read(ctx, groupPath(crd, version.Name), &list) || !slices.ContainsFunc(list.APIResources,
				func(r metav1.APIResource) bool { return r.Name == crd.Spec.Names.Plural }) {
				return false
			}
		}
	}
	// The index last: the server builds every schema for it.
	var index struct {
		Paths map[string]any `json:"paths"`
	}
	if !i.read(ctx, "openapi/v3", &index) {
		return false
	}
	for _, crd := range crds {
		for _, version := range crd.Spec.Versions {
			if index.Paths[groupPath(crd, version.Name)] == nil {
				return false
			}
		}
	}
	return true
}

func groupPath(crd *apiextensionsv1.CustomResourceDefinition, version string) string {
	return "apis/" + crd.Spec.Group + "/" + version
}

// read gets a document, and says whether it is there.
func (i installer) read(ctx context.Context, path string, into any) bool {
	text, err := i.rest.Get().AbsPath("/"+path).SetHeader("Accept", "application/json").DoRaw(ctx)
	return err == nil && json.Unmarshal(text, into) == nil
}

// The pauses between two looks: at something in memory, and at the answer to a request.
const (
	fast = 2 * time.Millisecond
	slow = 15 * time.Millisecond
)

// poll calls f until it is done, fails, or ctx ends.
func poll(ctx context.Context, pause time.Duration, f func() (done bool, err error)) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		if done, err := f(); done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// ready says whether the server answers.
func ready(ctx context.Context, client rest.Interface) (bool, error) {
	status := 0
	err := client.Get().AbsPath("/readyz").Do(ctx).StatusCode(&status).Error()
	return err == nil && status == http.StatusOK, nil
}
