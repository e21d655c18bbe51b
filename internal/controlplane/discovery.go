package controlplane

import (
	"net/http"
	"slices"
	"strings"

	"github.com/emicklei/go-restful/v3"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/apiserver/pkg/endpoints/discovery/aggregated"
	"k8s.io/apiserver/pkg/endpoints/handlers/negotiation"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	genericserver "k8s.io/apiserver/pkg/server"
)

// rootDiscovery serves GET /apis in both of its forms. The server has the aggregated one; the plain list is made here,
// because without an aggregator nobody adds the groups of custom resources to it.
func rootDiscovery(gs *genericserver.GenericAPIServer, crds *apiserver.CustomResourceDefinitions) *restful.WebService {
	lister := crds.Informers.Apiextensions().V1().CustomResourceDefinitions().Lister()
	plain := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		groups, err := gs.DiscoveryGroupManager.Groups(req.Context(), req)
		if err != nil {
			responsewriters.InternalError(w, req, err)
			return
		}
		all, err := lister.List(labels.Everything())
		if err != nil {
			responsewriters.InternalError(w, req, err)
			return
		}
		list := &metav1.APIGroupList{Groups: append(groups, customGroups(all)...)}
		responsewriters.WriteObjectNegotiated(gs.Serializer, negotiation.DefaultEndpointRestrictions,
			schema.GroupVersion{}, w, req, http.StatusOK, list, false)
	})
	return aggregated.WrapAggregatedDiscoveryToHandler(plain, gs.AggregatedDiscoveryGroupManager, nil).
		GenerateWebService(genericserver.APIGroupPrefix, metav1.APIGroupList{})
}

// customGroups lists the groups of custom resources by name, each with its versions, the preferred one first.
func customGroups(crds []*apiextensionsv1.CustomResourceDefinition) []metav1.APIGroup {
	versions := map[string][]string{}
	for _, crd := range crds {
		for _, v := range crd.Spec.Versions {
			if v.Served && !slices.Contains(versions[crd.Spec.Group], v.Name) {
				versions[crd.Spec.Group] = append(versions[crd.Spec.Group], v.Name)
			}
		}
	}
	groups := make([]metav1.APIGroup, 0, len(versions))
	for name, names := range versions {
		slices.SortFunc(names, func(a, b string) int { return version.CompareKubeAwareVersionStrings(b, a) })
		group := metav1.APIGroup{Name: name}
		for _, v := range names {
			group.Versions = append(group.Versions, metav1.GroupVersionForDiscovery{GroupVersion: name + "/" + v, Version: v})
		}
		group.PreferredVersion = group.Versions[0]
		groups = append(groups, group)
	}
	slices.SortFunc(groups, func(a, b metav1.APIGroup) int { return strings.Compare(a.Name, b.Name) })
	return groups
}
