package operator

import (
	"cmp"
	"context"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/site"
	"assay.bench/slurmbridge/limit"
)

// limited puts the limits of its Site, and the metrics, before every door.
func limited(openers []site.Opener, meter *limit.Metrics) []site.Opener {
	var out []site.Opener
	for _, o := range openers {
		open := o.Open
		o.Open = func(ctx context.Context, s *v1alpha1.Site, secrets site.Secrets) (site.Opened, error) {
			opened, err := open(ctx, s, secrets)
			if err != nil {
				return opened, err
			}
			return behind(opened, s, meter), nil
		}
		out = append(out, o)
	}
	return out
}

func behind(opened site.Opened, s *v1alpha1.Site, meter *limit.Metrics) site.Opened {
	jobs := s.Spec.Jobs
	door := limit.New(
		limit.Door{Jobs: opened.Jobs, Files: opened.Files, Prober: opened.Prober, Dialer: opened.Dialer, Token: opened.Token},
		limit.Options{Namespace: s.Namespace, Site: s.Name, Metrics: meter, Rate: rateOf(jobs, s.Spec.Limits)},
	)
	opened.Jobs, opened.Files, opened.Prober, opened.Dialer, opened.Token = door.Jobs, door.Files, door.Prober, door.Dialer, door.Token
	opened.Limit = func(l v1alpha1.SiteLimits) { door.SetRate(rateOf(jobs, l)) }
	end := opened.Close
	opened.Close = func() {
		door.Close()
		if end != nil {
			end()
		}
	}
	return opened
}

// What a Slurm site is asked at most where its Site does not say: a third of what slurmctld's own limiter gives a user in
// a burst, and little more than it gives in the long run (30 and 2 a second where rl_enable is on).
const (
	slurmRate  = 5
	slurmBurst = 10
)

// rateOf is the rate of a Site. A batch system in this process or on this host is asked as often as one likes.
func rateOf(jobs v1alpha1.JobsDoor, l v1alpha1.SiteLimits) limit.Rate {
	rate := limit.Rate{Burst: cmp.Or(int(l.Burst), slurmBurst)}
	asked, err := l.Rate.Float()
	switch {
	case l.Rate != "" && err == nil:
		rate.PerSecond = asked
	case jobs.Local == nil && jobs.Sim == nil:
		rate.PerSecond = slurmRate
	}
	return rate
}
