package sandbox

// Read is all the words of a message taken apart.
func Read(raw []byte) string {
	c := read(raw)
	return c.From + c.To + c.Subject + c.Date + c.Text + c.Header
}
