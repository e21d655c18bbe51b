package results

import "strconv"

// Headline names a number of a client that stands in a status.
type Headline struct{ Metric, Statistic string }

// Headlines are the numbers of a client that stand in a status, beside those that an SLO asks for.
func Headlines() []Headline {
	return []Headline{
		{"put", "p50"}, {"put", "p99"}, {"get_ttfb", "p50"}, {"get_ttfb", "p99"}, {"get", "p50"}, {"get", "p99"},
		{"ttft", "p50"}, {"ttft", "p99"}, {"e2e", "p50"}, {"e2e", "p99"}, {"tpot", "p50"}, {"itl_token", "p99"},
		{"request_throughput", "value"}, {"output_token_throughput", "value"},
		{"read_throughput", "value"}, {"write_throughput", "value"}, {"success_ratio", "value"},
	}
}

// Rates are the throughputs by which a client is known, the first that it has.
func Rates() []string {
	return []string{"output_token_throughput", "read_throughput", "write_throughput", "request_throughput"}
}

// Succeeded says whether an outcome is a success, and whether anything can be said of the server at all.
func Succeeded(outcome string) (yes, known bool) {
	switch outcome {
	case Passed:
		return true, true
	case Undecided, MeasurementInvalid, Partial:
		return false, false
	}
	return false, true
}

// Decimal writes a number with six significant digits and no exponent, as an API stores it; "" for none.
func Decimal(x *float64) string {
	if x == nil {
		return ""
	}
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(*x, 'g', 6, 64), 64)
	if err != nil {
		return ""
	}
	return strconv.FormatFloat(rounded, 'f', -1, 64)
}
