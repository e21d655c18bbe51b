// Package llmsim is an OpenAI-compatible server with vLLM's routes, stream and metrics, whose latencies, queue and
// faults are known beforehand, so that a load generator can be checked against it.
//
// # What is random
//
// Everything that is drawn for a request (its fault, its times, its words) is a function of Config.Seed and of its
// X-Request-Id, or of its place in the order of arrival when it carries none. A request with an id therefore gets the
// same draws whatever arrives beside it.
//
// # Times
//
// Token i of a request is due at start + ttft + the sum of i draws of itl, all of them instants on the monotonic
// clock: a token that leaves late does not delay the next one. The start is the arrival, or for a request that had to
// wait the moment when it left the queue. The first chunk of a chat, which holds only the role, leaves at the start
// and not with the first token: a client that takes it for a token shows itself.
//
// # Tokens
//
// A token is a word between white space. A chat has one more for the role of each message and one for the answer
// that it asks for. Prompts of token ids count as many tokens as they have ids.
package llmsim
