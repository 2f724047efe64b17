package main

const (
	step    = 10_000 // nanoseconds a bucket
	buckets = 200_000
)

// histogram of durations up to two seconds, to ten microseconds; what is longer is in the last.
type histogram struct {
	counts [buckets]uint32
	total  int64
	sum    int64
	worst  int64
}

func (h *histogram) add(nanoseconds int64) {
	if nanoseconds < 0 {
		nanoseconds = 0
	}
	h.counts[min(nanoseconds/step, buckets-1)]++
	h.total++
	h.sum += nanoseconds
	h.worst = max(h.worst, nanoseconds)
}

// share is the nearest rank, in seconds: the end of its bucket.
func (h *histogram) share(of float64) float64 {
	rank := int64(of * float64(h.total))
	for at, count := range h.counts {
		rank -= int64(count)
		if rank < 0 {
			return float64((at+1)*step) / 1e9
		}
	}
	return float64(h.worst) / 1e9
}

type summary struct {
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Worst float64 `json:"worst"`
}

func (h *histogram) summary() summary {
	if h.total == 0 {
		return summary{}
	}
	mean := float64(h.sum) / float64(h.total) / 1e9
	return summary{mean, h.share(0.5), h.share(0.99), h.share(0.999), float64(h.worst) / 1e9}
}
