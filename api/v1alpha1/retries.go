package v1alpha1

// JobRetries are how often a job is tried again that ended through no fault of the benchmark. Each attempt begins anew: a
// measurement is never resumed.
type JobRetries struct {
	// site is how many more attempts follow one that the site ended: a node failed, its prolog failed, the job could not be
	// launched, was preempted, requeued, or lost before it began. 0 turns that off.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9
	// +kubebuilder:default=2
	Site *int32 `json:"site,omitempty"`
}

// DefaultSiteRetries is the default of JobRetries.site.
const DefaultSiteRetries = 2

// OfSite is the number of attempts that follow one which the site ended.
func (r *JobRetries) OfSite() int32 {
	if r.Site == nil {
		return DefaultSiteRetries
	}
	return *r.Site
}
