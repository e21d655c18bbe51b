package wire

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// number is an integer in any of the forms that slurmrestd has for one: bare, as text, or with words beside it that say
// whether it is set, {"set": true, "infinite": false, "number": 7}.
type number struct {
	value int64
	// known is false for null, for what is not set, and for infinity.
	known bool
}

// UnmarshalJSON reads any of the forms.
func (n *number) UnmarshalJSON(raw []byte) error {
	*n = number{}
	switch raw[0] {
	case 'n':
		return nil
	case '{':
		var o struct {
			Set      bool        `json:"set"`
			Infinite bool        `json:"infinite"`
			Number   json.Number `json:"number"`
		}
		if err := json.Unmarshal(raw, &o); err != nil {
			return err
		}
		if !o.Set || o.Infinite {
			return nil
		}
		return n.read(o.Number.String())
	case '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return err
		}
		if text == "" || text == "Infinity" || text == "NaN" {
			return nil
		}
		return n.read(text)
	}
	return n.read(string(raw))
}

// read reads digits. A whole number may be written with a decimal point.
func (n *number) read(text string) error {
	whole, fraction, _ := strings.Cut(text, ".")
	value, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || strings.Trim(fraction, "0") != "" {
		return fmt.Errorf("%.40q is not a whole number", text)
	}
	n.value, n.known = value, true
	return nil
}

// text is the number as instant reads it; empty when it is not known.
func (n *number) text() string {
	if !n.known {
		return ""
	}
	return strconv.FormatInt(n.value, 10)
}

// words are one word, or a list of them.
type words []string

// UnmarshalJSON reads both forms.
func (w *words) UnmarshalJSON(raw []byte) error {
	*w = nil
	if raw[0] == '[' {
		return json.Unmarshal(raw, (*[]string)(w))
	}
	var one string
	if err := json.Unmarshal(raw, &one); err != nil {
		return err
	}
	if one != "" {
		*w = words{one}
	}
	return nil
}

// exit is how a batch script ended.
type exit struct{ code, signal int }

// UnmarshalJSON reads the wait status that v0.0.39 gives of a job, and the parts of it that the others give, and it of
// past jobs.
func (e *exit) UnmarshalJSON(raw []byte) error {
	*e = exit{}
	if raw[0] != '{' {
		return e.status(raw)
	}
	var o struct {
		Number json.RawMessage `json:"number"`
		Code   number          `json:"return_code"`
		Signal struct {
			ID  number `json:"id"`
			Old number `json:"signal_id"`
		} `json:"signal"`
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return err
	}
	if o.Number != nil {
		return e.status(raw)
	}
	// Of a signalled script v0.0.39 says -127.
	e.code = int(max(0, o.Code.value))
	e.signal = int(o.Signal.ID.value)
	if o.Signal.Old.known {
		e.signal = int(o.Signal.Old.value)
	}
	return nil
}

// status reads a wait status.
func (e *exit) status(raw []byte) error {
	var n number
	if err := n.UnmarshalJSON(raw); err != nil {
		return err
	}
	e.code, e.signal = int(n.value>>8&0xff), int(n.value&0x7f)
	return nil
}
