package mark

// Resume makes the mark to go on from of a commit and the log it was made on,
// whose records lie from first up to, not including, last. A negative offset
// is no commit: everything is still to be done, and the whole journal matters.
// Nothing was tried then, for every owner commits before it begins; or the
// broker forgot, and the journal has to do.
//
// When commit and log do not fit, problem says why, and the mark is one from
// which nothing that still exists is lost: the log wins. Records that come
// twice by that are for the journal to settle.
func Resume(offset int64, metadata string, first, last int64) (m Mark, problem string) {
	afresh := Mark{Low: first, Journal: 0, Limit: last, Tried: first}
	switch {
	case offset < 0:
		return afresh, ""
	case offset > last:
		afresh.Tried = last
		return afresh, "committed beyond the end of the log: records were lost, reading from its start"
	}
	m, err := Parse(offset, metadata)
	if err != nil {
		m = Mark{Low: offset, Limit: Unlimited, Tried: Unlimited}
		problem = "metadata does not parse: only the watermark is known"
	}
	if m.Low < first {
		problem = "records that were not done are deleted, reading from the start of the log"
		m.Low = first
		for len(m.Done) > 0 && m.Done[0].Start <= m.Low {
			m.Low = max(m.Low, m.Done[0].End)
			m.Done = m.Done[1:]
		}
	}
	for n := len(m.Done); n > 0 && m.Done[n-1].End > last; n = len(m.Done) {
		problem = "records that were done are gone from the end of the log: those that follow bear their numbers"
		if m.Done[n-1].End = last; m.Done[n-1].Start >= last {
			m.Done = m.Done[:n-1]
		}
	}
	m.Journal = max(m.Journal, 0)
	// What lies beyond the log's end now was never handed out.
	m.Limit = max(m.Low, min(m.Limit, last))
	m.Tried = max(m.Low, min(m.Tried, last))
	return m, problem
}
