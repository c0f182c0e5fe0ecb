package heir

func runLoad() error { return nil }
