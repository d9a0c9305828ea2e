// Package link makes the addresses by which a mail is followed: the pixel, the
// signed click links and the unsubscribe address, all served by the tracker.
package link

import (
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/html"

	"kurir.dev/kit/token"
)

// Maker makes the addresses of one mail. The zero value makes none: every
// link stays what it is.
type Maker struct {
	// Base is the tracker's public URL, without a slash at its end.
	Base string
	// Ring signs; nil follows nothing.
	Ring *token.Ring
	// Tenant and MailID stand in every token.
	Tenant, MailID string
}

// Click returns the signed address that leads to target, or target itself when
// it cannot be signed (longer than a token holds, not http, no ring).
func (m Maker) Click(label, target string) string {
	if m.Ring == nil {
		return target
	}
	signed := m.Ring.Sign(token.Claims{Tenant: m.Tenant, MailID: m.MailID, Link: label, URL: target})
	if signed == "" {
		return target
	}
	return m.Base + "/c/" + signed
}

// Pixel returns the address of the image that tells of an open; "" without a
// ring.
func (m Maker) Pixel() string {
	if m.Ring == nil {
		return ""
	}
	return m.Base + "/o/" + m.Ring.Sign(token.Claims{Tenant: m.Tenant, MailID: m.MailID}) + ".gif"
}

// Unsubscribe returns the one-click unsubscribe address (RFC 8058); "" without
// a ring.
func (m Maker) Unsubscribe() string {
	if m.Ring == nil {
		return ""
	}
	return m.Base + "/u/" + m.Ring.Sign(token.Claims{Tenant: m.Tenant, MailID: m.MailID, Unsubscribe: true})
}

// Follow returns page with each http or https link leading through
// [Maker.Click], labelled "link-1", "link-2" in their order, and with the pixel
// at its end. Links that are the tracker's already stay. Everything else of
// page stays byte for byte.
func (m Maker) Follow(page string) string {
	if m.Ring == nil {
		return page
	}
	var out strings.Builder
	out.Grow(len(page) + len(page)/4 + 256)
	end := -1 // where </body> stands
	count := 0
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		kind := z.Next()
		raw := z.Raw()
		switch kind {
		case html.ErrorToken: // the end
			out.Write(raw)
			return insert(out.String(), end, m.Pixel())
		case html.StartTagToken, html.SelfClosingTagToken:
			if !anchor(raw) {
				out.Write(raw)
				continue
			}
			kept := string(raw) // Token reuses the buffer
			out.WriteString(m.rewrite(kept, z.Token(), &count))
		case html.EndTagToken:
			if len(raw) >= 6 && strings.EqualFold(string(raw[2:6]), "body") {
				end = out.Len()
			}
			out.Write(raw)
		default:
			out.Write(raw)
		}
	}
}

// anchor reports whether raw can be the tag of a link: <a or <area.
func anchor(raw []byte) bool { return len(raw) > 2 && (raw[1] == 'a' || raw[1] == 'A') }

// rewrite returns the tag with its target followed, or as it was.
func (m Maker) rewrite(raw string, tag html.Token, count *int) string {
	if tag.Data != "a" && tag.Data != "area" {
		return raw
	}
	for i, attr := range tag.Attr {
		if attr.Key != "href" || attr.Namespace != "" {
			continue
		}
		target := strings.TrimSpace(attr.Val)
		if !web(target) || strings.HasPrefix(target, m.Base+"/") {
			return raw
		}
		label := "link-" + strconv.Itoa(*count+1)
		followed := m.Click(label, target)
		if followed == target {
			return raw
		}
		*count++
		tag.Attr[i].Val = followed
		return tag.String()
	}
	return raw
}

// web reports whether target is an absolute http or https address.
func web(target string) bool {
	if len(target) < 8 || !strings.EqualFold(target[:4], "http") {
		return false
	}
	u, err := url.Parse(target)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// insert puts the pixel at position end of page, or after it all if end is -1.
func insert(page string, end int, pixel string) string {
	if end < 0 {
		end = len(page)
	}
	return page[:end] + `<img src="` + pixel + `" width="1" height="1" alt="" style="display:block;width:1px;height:1px;border:0">` + page[end:]
}
