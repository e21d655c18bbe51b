package site

// Meter counts what happens at a site.
type Meter interface {
	// OrphanCancelled counts a job that nothing wanted any more.
	OrphanCancelled(namespace, site string)
	// Jobs takes the number of SlurmJobs of a site by state, and how many of them may have a job there.
	Jobs(namespace, site string, byState map[string]int, live int)
}

// unmetered counts nothing.
type unmetered struct{}

func (unmetered) OrphanCancelled(string, string)           {}
func (unmetered) Jobs(string, string, map[string]int, int) {}
