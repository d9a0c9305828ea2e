package sandbox

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
)

// Bounds of what is taken apart for the page.
const (
	maxDepth = 8
	maxParts = 64
)

// content is a mail taken apart.
type content struct {
	From, To, Subject, Date string
	Header                  string // as it came
	Text, HTML              string
	Files                   []file
}

// file is a part that is neither of the bodies.
type file struct {
	Name, Type string
	Size       int
	id         string
	data       []byte
}

// read takes a message apart, as far as it can be understood.
func read(raw []byte) content {
	head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	c := content{Header: strings.ToValidUTF8(string(head), "\ufffd")}
	message, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		c.Text = strings.ToValidUTF8(string(raw), "\ufffd")
		return c
	}
	c.From, c.To = decode(message.Header.Get("From")), decode(message.Header.Get("To"))
	c.Subject, c.Date = decode(message.Header.Get("Subject")), message.Header.Get("Date")
	parts := 0
	c.part(message.Header.Get, message.Body, 0, &parts)
	for _, f := range c.Files {
		if f.id != "" && strings.HasPrefix(f.Type, "image/") {
			c.HTML = strings.ReplaceAll(c.HTML, "cid:"+f.id, "data:"+f.Type+";base64,"+base64.StdEncoding.EncodeToString(f.data))
		}
	}
	return c
}

func (c *content) part(header func(string) string, body io.Reader, depth int, parts *int) {
	if *parts++; *parts > maxParts || depth > maxDepth {
		return
	}
	kind, params, err := mime.ParseMediaType(header("Content-Type"))
	if err != nil {
		kind = "text/plain"
	}
	if strings.HasPrefix(kind, "multipart/") && params["boundary"] != "" {
		reader := multipart.NewReader(body, params["boundary"])
		for {
			p, err := reader.NextRawPart()
			if err != nil {
				return
			}
			c.part(p.Header.Get, p, depth+1, parts)
		}
	}
	data := decoded(header("Content-Transfer-Encoding"), body)
	disposition, named, err := mime.ParseMediaType(header("Content-Disposition"))
	attached := err == nil && disposition == "attachment"
	switch {
	case kind == "text/plain" && c.Text == "" && !attached:
		c.Text = text(params["charset"], data)
	case kind == "text/html" && c.HTML == "" && !attached:
		c.HTML = text(params["charset"], data)
	default:
		name := decode(named["filename"])
		if name == "" {
			name = "unnamed"
		}
		c.Files = append(c.Files, file{Name: name, Type: kind, Size: len(data), id: strings.Trim(header("Content-Id"), "<> "), data: data})
	}
}

func decoded(encoding string, body io.Reader) []byte {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return data // what could be read of it
	}
	return data
}

// text is UTF-8 as it is, and Latin-1 for what says so.
func text(charset string, data []byte) string {
	switch strings.ToLower(charset) {
	case "iso-8859-1", "latin1", "windows-1252":
		runes := make([]rune, len(data))
		for i, b := range data {
			runes[i] = rune(b)
		}
		return string(runes)
	}
	return strings.ToValidUTF8(string(data), "\ufffd")
}

func decode(header string) string {
	var words mime.WordDecoder
	s, err := words.DecodeHeader(header)
	if err != nil {
		s = header
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

// header reads a field without taking the message apart.
func header(raw []byte, name string) string {
	head, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	message, err := mail.ReadMessage(io.MultiReader(bytes.NewReader(head), strings.NewReader("\r\n\r\n")))
	if err != nil {
		return ""
	}
	return decode(message.Header.Get(name))
}
