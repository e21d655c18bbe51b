package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// SchemeGroupVersion is the group and version of all kinds in this package. Its name is what generated code expects.
var SchemeGroupVersion = schema.GroupVersion{Group: "assay.bench", Version: "v1alpha1"}

// AddToScheme registers every kind of this package in a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(SchemeGroupVersion,
		&Site{}, &SiteList{},
		&Benchmark{}, &BenchmarkList{},
		&Service{}, &ServiceList{},
		&LoadClient{}, &LoadClientList{},
		&SlurmJob{}, &SlurmJobList{},
	)
	metav1.AddToGroupVersion(s, SchemeGroupVersion)
	return nil
}
