package template

import (
	"fmt"
	"maps"
	"regexp"
	"strings"
)

// stylesheet holds the declarations of class rules: mail clients that drop
// <style> still obey style attributes.
type stylesheet map[string]string

var (
	cssComment = regexp.MustCompile(`(?s)/\*.*?\*/`)
	cssRule    = regexp.MustCompile(`(?s)\s*([^{}]+?)\s*\{([^{}]*)\}\s*`)
	cssClass   = regexp.MustCompile(`^\.([a-z][a-z0-9-]*)$`)
	spaces     = regexp.MustCompile(`\s+`)
	// styled matches class="…" and a style="…" that follows it directly.
	styled = regexp.MustCompile(`\sclass="([a-z0-9 -]+)"(?:\s+style="([^"]*)")?`)
)

// parseStyles reads flat rules of one class each, adding to and overriding
// those of base, which may be nil.
func parseStyles(css string, base stylesheet) (stylesheet, error) {
	sheet := stylesheet{}
	maps.Copy(sheet, base)
	rest := cssRule.ReplaceAllStringFunc(cssComment.ReplaceAllString(css, ""), func(rule string) string {
		parts := cssRule.FindStringSubmatch(rule)
		class := cssClass.FindStringSubmatch(parts[1])
		if class == nil {
			return rule
		}
		declarations := strings.NewReplacer(": ", ":", "; ", ";").Replace(spaces.ReplaceAllString(strings.TrimSpace(parts[2]), " "))
		sheet[class[1]] = strings.TrimSuffix(declarations, ";")
		return ""
	})
	if rest = strings.TrimSpace(rest); rest != "" {
		return nil, fmt.Errorf("style.css: only rules of one class can be inlined, not %.40q", rest)
	}
	return sheet, nil
}

// inline writes the rules of each class attribute of source into its style
// attribute, declarations that stand there already last, and keeps the classes
// that head (a <style> for dark mode and small screens) refers to. It reads
// source as text, so the actions in it stay whole; a style attribute must
// follow its class attribute.
func (sheet stylesheet) inline(source, head string) string {
	return styled.ReplaceAllStringFunc(source, func(attributes string) string {
		parts := styled.FindStringSubmatch(attributes)
		var declarations, kept []string
		for class := range strings.FieldsSeq(parts[1]) {
			if d := sheet[class]; d != "" {
				declarations = append(declarations, d)
			}
			if strings.Contains(head, "."+class+"{") || strings.Contains(head, "."+class+",") || strings.Contains(head, "."+class+" ") {
				kept = append(kept, class)
			}
		}
		if parts[2] != "" {
			declarations = append(declarations, parts[2])
		}
		var out strings.Builder
		if len(kept) > 0 {
			out.WriteString(` class="` + strings.Join(kept, " ") + `"`)
		}
		if len(declarations) > 0 {
			out.WriteString(` style="` + strings.Join(declarations, ";") + `"`)
		}
		return out.String()
	})
}
