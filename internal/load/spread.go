package load

import "context"

// Spread deals the workers of a load out over several servers of one kind: worker n of this rank, which is number
// rank + n × ranks of all, loads the server of that number modulo how many there are. The parts are the same workload, each
// for its server; there is one at least.
func Spread(rank, ranks int, parts []Workload) Workload {
	if len(parts) == 1 {
		return parts[0]
	}
	return spread{Workload: parts[0], parts: parts, rank: rank, ranks: ranks}
}

// spread is the first of its parts in all but its workers.
type spread struct {
	Workload
	parts       []Workload
	rank, ranks int
}

func (s spread) Worker(ctx context.Context, n int) (Worker, error) {
	number := s.rank + n*s.ranks
	return s.parts[number%len(s.parts)].Worker(ctx, n)
}
