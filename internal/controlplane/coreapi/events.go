package coreapi

import (
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
)

// addEventConversions lets events.k8s.io/v1 be served from stored core Events.
func addEventConversions(s *runtime.Scheme) error {
	add := s.AddConversionFunc
	if err := add((*eventsv1.Event)(nil), (*corev1.Event)(nil), func(a, b any, _ conversion.Scope) error {
		toCore(a.(*eventsv1.Event), b.(*corev1.Event))
		return nil
	}); err != nil {
		return err
	}
	if err := add((*corev1.Event)(nil), (*eventsv1.Event)(nil), func(a, b any, _ conversion.Scope) error {
		fromCore(a.(*corev1.Event), b.(*eventsv1.Event))
		return nil
	}); err != nil {
		return err
	}
	return add((*corev1.EventList)(nil), (*eventsv1.EventList)(nil), func(a, b any, _ conversion.Scope) error {
		in, out := a.(*corev1.EventList), b.(*eventsv1.EventList)
		out.ListMeta = in.ListMeta
		out.Items = make([]eventsv1.Event, len(in.Items))
		for i := range in.Items {
			fromCore(&in.Items[i], &out.Items[i])
		}
		return nil
	})
}

func toCore(in *eventsv1.Event, out *corev1.Event) {
	out.ObjectMeta = in.ObjectMeta
	out.InvolvedObject, out.Related = in.Regarding, in.Related
	out.Reason, out.Message, out.Type, out.Action = in.Reason, in.Note, in.Type, in.Action
	out.ReportingController, out.ReportingInstance = in.ReportingController, in.ReportingInstance
	out.EventTime, out.Source = in.EventTime, in.DeprecatedSource
	out.FirstTimestamp, out.LastTimestamp = in.DeprecatedFirstTimestamp, in.DeprecatedLastTimestamp
	out.Count, out.Series = in.DeprecatedCount, nil
	if in.Series != nil {
		out.Series = &corev1.EventSeries{Count: in.Series.Count, LastObservedTime: in.Series.LastObservedTime}
	}
}

func fromCore(in *corev1.Event, out *eventsv1.Event) {
	out.ObjectMeta = in.ObjectMeta
	out.Regarding, out.Related = in.InvolvedObject, in.Related
	out.Reason, out.Note, out.Type, out.Action = in.Reason, in.Message, in.Type, in.Action
	out.ReportingController, out.ReportingInstance = in.ReportingController, in.ReportingInstance
	out.EventTime, out.DeprecatedSource = in.EventTime, in.Source
	out.DeprecatedFirstTimestamp, out.DeprecatedLastTimestamp = in.FirstTimestamp, in.LastTimestamp
	out.DeprecatedCount, out.Series = in.Count, nil
	if in.Series != nil {
		out.Series = &eventsv1.EventSeries{Count: in.Series.Count, LastObservedTime: in.Series.LastObservedTime}
	}
}
