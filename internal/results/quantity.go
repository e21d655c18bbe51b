package results

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Quantity writes a number with at least three significant digits and its unit: s becomes µs, ms or s, 1/s becomes /s,
// and 1, a share, becomes a percentage, which reads 100 % only when it is exactly that.
func Quantity(x float64, unit string) string {
	s := scaleOf(x, unit)
	return s.text(x, 3) + s.suffix
}

// scale is how numbers of one size are written.
type scale struct {
	factor float64
	suffix string
}

func scaleOf(x float64, unit string) scale {
	// What rounds to 1,000 of a unit is written in the next one.
	const edge = 0.9995
	switch a := math.Abs(x); {
	case unit == "1", unit == "%":
		return scale{100, " %"}
	case unit == "1/s":
		return scale{1, "/s"}
	case unit == "B/s" && a < edge*1e3:
		return scale{1, " B/s"}
	case unit == "B/s" && a < edge*1e6:
		return scale{1e-3, " kB/s"}
	case unit == "B/s":
		return scale{1e-6, " MB/s"}
	case strings.HasSuffix(unit, "/s"): // with a word for what is counted
		return scale{1, " " + unit}
	case unit != "s":
		return scale{1, ""}
	case a < edge*1e-3:
		return scale{1e6, " µs"}
	case a < edge:
		return scale{1e3, " ms"}
	}
	return scale{1, " s"}
}

// text writes a number with at least so many significant digits.
func (s scale) text(x float64, significant int) string {
	if s.factor == 100 && x < 1 {
		return almost(100*x, significant)
	}
	return digits(x*s.factor, significant)
}

// almost writes a percentage under 100 with as many digits as it takes to see that it is under 100.
func almost(x float64, significant int) string {
	const most = 12
	for ; significant < most; significant++ {
		if out := digits(x, significant); out != "100" && !strings.HasPrefix(out, "100.") {
			return out
		}
	}
	return "99.9999999" // closer than one in a billion, which no count of ours is
}

// digits writes a number with at least so many significant digits, all digits before the point, and no exponent unless
// it is far from 1.
func digits(x float64, significant int) string {
	a := math.Abs(x)
	switch {
	case a == 0:
		return "0"
	case a < 1e-9 || a >= 1e15 || math.IsNaN(a):
		return strconv.FormatFloat(x, 'g', significant, 64)
	}
	// The exponent of the rounded number: 0.9996 has the digits of 1.00.
	_, exponent, _ := strings.Cut(strconv.FormatFloat(a, 'e', significant-1, 64), "e")
	size, err := strconv.Atoi(exponent)
	if err != nil {
		return strconv.FormatFloat(x, 'g', significant, 64)
	}
	return grouped3(strconv.FormatFloat(x, 'f', max(0, significant-1-size), 64))
}

// grouped3 sets a comma between each three digits before the point.
func grouped3(number string) string {
	sign := ""
	if strings.HasPrefix(number, "-") {
		sign, number = "-", number[1:]
	}
	whole, rest, _ := strings.Cut(number, ".")
	if rest != "" {
		rest = "." + rest
	}
	for at := len(whole) - 3; at > 0; at -= 3 {
		whole = whole[:at] + "," + whole[at:]
	}
	return sign + whole + rest
}

// count writes a whole number.
func count(n int64) string { return grouped3(strconv.FormatInt(n, 10)) }

// bound writes a limit as short as it is: 60 ms, 99 %.
func bound(x float64, unit string) string {
	s := scaleOf(x, unit)
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(x*s.factor, 'g', 12, 64), 64)
	if err != nil || math.Abs(rounded) >= 1e15 || rounded != 0 && math.Abs(rounded) < 1e-9 {
		return Quantity(x, unit)
	}
	return grouped3(strconv.FormatFloat(rounded, 'f', -1, 64)) + s.suffix
}

// apart writes a number with as many digits as it takes to tell it from a limit.
func apart(x, limit float64, unit string) string {
	s := scaleOf(x, unit)
	other := scaleOf(limit, unit)
	significant := 3
	for x != limit && s == other && significant < 12 && s.text(x, significant) == s.text(limit, significant) {
		significant++
	}
	return s.text(x, significant) + s.suffix
}

// span writes an interval in the unit of the value that it belongs to, with as many digits as it takes to tell its ends
// apart, within reason; a missing end is an ellipsis.
func (s scale) span(low, high *float64) string {
	end := func(x *float64, significant int) string {
		if x == nil {
			return "…"
		}
		return s.text(*x, significant)
	}
	significant := 3
	for low != nil && high != nil && *low != *high && significant < 5 && end(low, significant) == end(high, significant) {
		significant++
	}
	return end(low, significant) + "–" + end(high, significant)
}

// length writes a time in seconds for people.
func length(x float64) string {
	if math.Abs(x) > 1e9 || math.IsNaN(x) {
		return digits(x, 3) + " s"
	}
	step := time.Millisecond
	if math.Abs(x) >= 60 {
		step = time.Second
	}
	return time.Duration(x * second).Round(step).String()
}
