package monitor

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"assay.bench/internal/series"
)

// sample is one value of an answer. A counter only grows, but for resets.
type sample struct {
	labels  series.Labels
	value   float64
	counter bool
}

// page is a parsed answer. Repairs are metrics whose TYPE is known to be wrong.
type page struct {
	samples []sample
	repairs []string
}

// wrongTypes are metrics that servers call gauges although their values are cumulative.
func wrongTypes() []string {
	return []string{
		"minio_s3_ttfb_seconds_distribution",          // buckets of a histogram without +Inf
		"minio_s3_requests_ttfb_seconds_distribution", // the same under its older name
	}
}

// parse reads Prometheus's text format or, when openMetrics is set, OpenMetrics.
func parse(body []byte, openMetrics bool) (page, error) {
	if openMetrics {
		body = toText(body)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return page{}, fmt.Errorf("not in the text format of Prometheus: %w", err)
	}
	var p page
	for _, name := range slices.Sorted(maps.Keys(families)) {
		f := families[name]
		if f.GetType() == dto.MetricType_GAUGE && slices.Contains(wrongTypes(), name) {
			p.repairs = append(p.repairs, name)
		}
		for _, m := range f.GetMetric() {
			p.samples = appendMetric(p.samples, f, m)
		}
	}
	return p, nil
}

func appendMetric(out []sample, f *dto.MetricFamily, m *dto.Metric) []sample {
	name := f.GetName()
	add := func(suffix string, v float64, counter bool, extra ...string) {
		labels := make(map[string]string, len(m.GetLabel())+1)
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if len(extra) == 2 {
			labels[extra[0]] = extra[1]
		}
		out = append(out, sample{series.NewLabels(name+suffix, labels), v, counter})
	}
	switch f.GetType() {
	case dto.MetricType_COUNTER:
		add("", m.GetCounter().GetValue(), true)
	case dto.MetricType_GAUGE:
		add("", m.GetGauge().GetValue(), slices.Contains(wrongTypes(), name))
	case dto.MetricType_SUMMARY:
		for _, q := range m.GetSummary().GetQuantile() {
			add("", q.GetValue(), false, "quantile", bound(q.GetQuantile()))
		}
		add("_sum", m.GetSummary().GetSampleSum(), true)
		add("_count", float64(m.GetSummary().GetSampleCount()), true)
	case dto.MetricType_HISTOGRAM:
		for _, b := range m.GetHistogram().GetBucket() {
			add("_bucket", float64(b.GetCumulativeCount()), true, "le", bound(b.GetUpperBound()))
		}
		add("_sum", m.GetHistogram().GetSampleSum(), true)
		add("_count", float64(m.GetHistogram().GetSampleCount()), true)
	default: // no TYPE: OpenMetrics' suffix says it
		add("", m.GetUntyped().GetValue(), strings.HasSuffix(name, "_total"))
	}
	return out
}

// bound writes a bucket's or a quantile's bound as Prometheus does.
func bound(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// toText turns OpenMetrics into the text format: it leaves out exemplars and timestamps and renames the types that the
// text format does not know. A counter's sample is then an untyped x_total, which is a counter by its suffix.
func toText(body []byte) []byte {
	out := make([]byte, 0, len(body))
	for line := range bytes.Lines(body) {
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case bytes.Equal(line, []byte("# EOF")):
			return out
		case bytes.HasPrefix(line, []byte("# TYPE ")):
			line = textType(line)
		case bytes.HasPrefix(line, []byte("#")):
		default:
			line = textSample(line)
		}
		out = append(append(out, line...), '\n')
	}
	return out
}

func textType(line []byte) []byte {
	i := bytes.LastIndexByte(line, ' ')
	switch string(line[i+1:]) {
	case "counter", "gauge", "histogram", "summary":
		return line
	case "info", "stateset":
		return append(slices.Clone(line[:i+1]), "gauge"...)
	}
	return append(slices.Clone(line[:i+1]), "untyped"...)
}

// textSample keeps name, labels and value.
func textSample(line []byte) []byte {
	end := labelsEnd(line)
	fields := bytes.Fields(line[end:])
	if len(fields) == 0 {
		return line
	}
	keep := slices.Clone(line[:end])
	if end == 0 { // no labels: the first field is the name
		keep, fields = append(keep, fields[0]...), fields[1:]
	}
	if len(fields) == 0 {
		return line
	}
	return append(append(keep, ' '), fields[0]...)
}

// labelsEnd returns the index behind the labels, or 0 when there are none.
func labelsEnd(line []byte) int {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '}':
			return i + 1
		case c == '#':
			return 0
		}
	}
	return 0
}
