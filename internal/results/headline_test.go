package results

import "testing"

func TestDecimal(t *testing.T) {
	for x, want := range map[float64]string{0.0123456789: "0.0123457", 1234567.8: "1234570", 1e-7: "0.0000001", 0: "0", 3: "3"} {
		if got := Decimal(&x); got != want {
			t.Errorf("%v: %q, want %q", x, got, want)
		}
	}
	if Decimal(nil) != "" {
		t.Error("no number has no decimal")
	}
}

func TestSucceeded(t *testing.T) {
	for outcome, want := range map[string][2]bool{
		Passed: {true, true}, SLOViolated: {false, true}, Failed: {false, true}, Aborted: {false, true}, TimedOut: {false, true},
		Undecided: {false, false}, MeasurementInvalid: {false, false}, Partial: {false, false},
	} {
		if yes, known := Succeeded(outcome); yes != want[0] || known != want[1] {
			t.Errorf("%s: %v, %v", outcome, yes, known)
		}
	}
}
