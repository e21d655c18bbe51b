package llmsim

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

// vocabularySize is that of facebook/opt-125m.
const vocabularySize = 50272

// words are the tokens with the lowest ids. Generated text has no others.
const words = "a about after again air all also an and any are as ask at away back be been before big boy but by call " +
	"came can change come could day did do does down each end even far few find first for found from get give go good " +
	"great had hand has have he help her here him his home house how i if in into is it its just kind know land large " +
	"last learn left let life light like line live little long look made make man many may me mean men might more most " +
	"move much must my name near need never new next night no not now number of off often old on one only or other our " +
	"out over own page part people place plant play point read right run said same saw say school see seem sentence " +
	"set she should show side small so some sound spell stand start state still story study such sun take tell ten " +
	"than that the their them then there these they thing think this three time to too tree try turn two under until " +
	"up us use very want was water way we well went were what when where which while white who why will with word " +
	"work world would write year you young your"

// vocabulary turns words into token ids and back.
type vocabulary struct {
	words  []string
	spaced []string // the same with a space before each
	ids    map[string]int
}

func newVocabulary() vocabulary {
	v := vocabulary{words: strings.Fields(words), ids: map[string]int{}}
	for i, w := range v.words {
		v.ids[w] = i
		v.spaced = append(v.spaced, " "+w)
	}
	return v
}

// pick draws the text of token i of an answer: a word, with a space before all but the first.
func (v vocabulary) pick(r *rand.Rand, i int) string {
	w := r.IntN(len(v.words))
	if i == 0 {
		return v.words[w]
	}
	return v.spaced[w]
}

// word returns the word of a token id: "t" and the id for those that have none.
func (v vocabulary) word(id int) string {
	if id < len(v.words) {
		return v.words[id]
	}
	return "t" + strconv.Itoa(id)
}

// id returns the token id of a word; unknown words get one by their hash. id(word(x)) is x for every x from 0 to
// vocabularySize - 1.
func (v vocabulary) id(word string) int {
	if id, ok := v.ids[word]; ok {
		return id
	}
	if digits, ok := strings.CutPrefix(word, "t"); ok {
		if id, err := strconv.Atoi(digits); err == nil && id >= len(v.words) && id < vocabularySize && v.word(id) == word {
			return id
		}
	}
	return len(v.words) + int(hash64(word)%uint64(vocabularySize-len(v.words)))
}

// countWords is the number of tokens of a text.
func countWords(text string) int {
	n := 0
	for range strings.FieldsSeq(text) {
		n++
	}
	return n
}
