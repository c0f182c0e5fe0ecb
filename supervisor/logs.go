package supervisor

// droppedLogLines is how many lines are missing in the log: "worker" are those
// beyond what one worker may write, the others are the log's own queues, where
// its handler has any.
func (s *Supervisor) droppedLogLines() map[string]uint64 {
	out := map[string]uint64{"worker": uint64(s.manager.Keeper().DroppedLines())}
	if h, ok := s.log.Handler().(interface{ Dropped() map[string]uint64 }); ok {
		for queue, n := range h.Dropped() {
			out[queue] = n
		}
	}
	return out
}
