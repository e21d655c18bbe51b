package reconcile

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
)

func TestObstacle(t *testing.T) {
	free := func(change func(*Own)) Own {
		s := &v1alpha1.Service{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "ns", Generation: 4}}
		o := Own{Object: s, Kind: KindService, Site: "here", Found: &v1alpha1.Site{}, Run: "g4"}
		change(&o)
		return o
	}
	for reason, tc := range map[string]struct {
		own  Own
		want *Obstacle
	}{
		"nothing":                    {free(func(*Own) {}), nil},
		"suspended before all else":  {free(func(o *Own) { o.Suspend, o.Site = true, "" }), &Obstacle{Kind: Suspended, Message: "spec.suspend is true: nothing starts"}},
		"only a person names a site": {free(func(o *Own) { o.Site, o.Found = "", nil }), &Obstacle{Kind: Refused, Reason: "SiteMissing", Message: "a Service that no Benchmark owns needs spec.site"}},
		"a site may come later": {free(func(o *Own) { o.Found = nil }), &Obstacle{Kind: Refused, Reason: "SiteMissing", After: 2 * time.Second,
			Message: `there is no Site "here" in namespace ns: create it, or name another in spec.site`}},
		"what stalls the site stalls its users": {free(func(o *Own) {
			Conditions{List: &o.Found.Status.Conditions}.Stalled("WorkDirUnusable", "others may write there")
		}), &Obstacle{Kind: Refused, Reason: "WorkDirUnusable", Message: "Site here: others may write there"}},
		"a door opens by itself": {free(func(o *Own) { o.Closed = "no route" }), &Obstacle{Kind: Waits, Reason: "Waiting", Message: "waits for Site here: no route", After: 2 * time.Second}},
		"the former job ends first": {free(func(o *Own) { o.Former = []Child{{Kind: KindSlurmJob, Name: "j", UID: "u"}} }), &Obstacle{Kind: Drains, Reason: "Progressing",
			Message: "waits until its former job is gone", Do: []Effect{Delete{Kind: KindSlurmJob, Name: "j", UID: "u"}}, After: 2 * time.Second}},
		"every name is taken": {free(func(o *Own) { o.Run = "" }), &Obstacle{Kind: Refused, Reason: "InvalidParameters",
			Message: "too many former runs named g4 of a Service of this name are kept: remove some with assay prune"}},
	} {
		t.Run(reason, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.own.Obstacle()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A refusal stalls an object for kstatus; what passes by itself leaves it in progress.
func TestObstacleTells(t *testing.T) {
	for kind, want := range map[ObstacleKind]string{
		Suspended: "",
		Refused:   v1alpha1.ConditionStalled,
		Waits:     v1alpha1.ConditionReconciling,
		Drains:    v1alpha1.ConditionReconciling,
	} {
		var list []metav1.Condition
		c := Conditions{List: &list}
		(&Obstacle{Kind: kind, Reason: "Because", Message: "why"}).Tell(c)
		if ready := meta.FindStatusCondition(list, v1alpha1.ConditionReady); ready == nil || ready.Message != "why" {
			t.Errorf("kind %v: Ready is %+v, want the reason", kind, ready)
		}
		for _, other := range []string{v1alpha1.ConditionStalled, v1alpha1.ConditionReconciling, v1alpha1.ConditionReady} {
			if c.Is(other) != (other == want) {
				t.Errorf("kind %v: %s is %t", kind, other, c.Is(other))
			}
		}
	}
}
