package inference

import "bytes"

// scanner walks over one JSON text. After a fault bad is set and every call ends at once. Of values that nobody asks for
// it checks only that strings and brackets close.
type scanner struct {
	b   []byte
	i   int
	bad bool
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// peek is the next byte that is no space; 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.bad || s.i >= len(s.b) {
		return 0
	}
	return s.b[s.i]
}

// accept takes the next byte if it is c.
func (s *scanner) accept(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.i++
	return true
}

// open takes an opening bracket.
func (s *scanner) open(bracket byte) bool {
	if !s.accept(bracket) {
		s.bad = true
	}
	return !s.bad
}

// key takes the n-th key of an object with its colon; it is false after the last one.
func (s *scanner) key(n int) (key []byte, more bool) {
	if !s.member(n, '}') {
		return nil, false
	}
	key = s.quoted()
	if !s.accept(':') {
		s.bad = true
	}
	return key, !s.bad
}

// element stands before the n-th element of an array; it is false after the last one.
func (s *scanner) element(n int) bool { return s.member(n, ']') }

func (s *scanner) member(n int, closing byte) bool {
	if s.accept(closing) {
		return false
	}
	if n > 0 && !s.accept(',') {
		s.bad = true
	}
	return !s.bad
}

// quoted takes a string and gives its bytes as they stand between the quotes.
func (s *scanner) quoted() []byte {
	if !s.accept('"') {
		s.bad = true
		return nil
	}
	start := s.i
	for {
		quote := bytes.IndexByte(s.b[s.i:], '"')
		if quote < 0 {
			s.bad = true
			return nil
		}
		s.i += quote + 1
		slashes := 0
		for k := s.i - 2; k >= start && s.b[k] == '\\'; k-- {
			slashes++
		}
		if slashes%2 == 0 {
			return s.b[start : s.i-1]
		}
	}
}

// text takes any value and gives the bytes of a string; nil for anything else.
func (s *scanner) text() []byte {
	if s.peek() == '"' {
		return s.quoted()
	}
	s.skip()
	return nil
}

// null takes a null, if that is next.
func (s *scanner) null() bool {
	if s.peek() != 'n' {
		return false
	}
	s.skip()
	return true
}

// filled takes any value and says whether it is an array with an element.
func (s *scanner) filled() bool {
	if s.peek() != '[' {
		s.skip()
		return false
	}
	probe := *s
	probe.i++
	s.skip()
	return !s.bad && probe.peek() != ']'
}

// number takes any value and gives a whole number that is not negative; otherwise the one given.
func (s *scanner) number(otherwise int) int {
	c := s.peek()
	start := s.i
	s.skip()
	if s.bad || c < '0' || c > '9' || s.i-start > 9 {
		return otherwise
	}
	n := 0
	for _, d := range s.b[start:s.i] {
		if d < '0' || d > '9' {
			return otherwise
		}
		n = 10*n + int(d-'0')
	}
	return n
}

// skip takes any value.
func (s *scanner) skip() {
	for depth := 0; !s.bad; {
		switch c := s.peek(); c {
		case 0:
			s.bad = true
		case '"':
			s.quoted()
		case '{', '[':
			s.i++
			depth++
		case '}', ']':
			if depth == 0 {
				s.bad = true
				return
			}
			s.i++
			depth--
		case ',', ':':
			if depth == 0 {
				s.bad = true
				return
			}
			s.i++
			continue
		default:
			s.literal()
		}
		if depth == 0 {
			return
		}
	}
}

// literal takes a number, true, false or null.
func (s *scanner) literal() {
	start := s.i
	for s.i < len(s.b) {
		c := s.b[s.i]
		if c != '-' && c != '+' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != 'E' {
			break
		}
		s.i++
	}
	if s.i == start {
		s.bad = true
	}
}
