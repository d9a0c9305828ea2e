package cldr

import "golang.org/x/text/language"

// unit is the name of a unit of time by plural form.
type unit struct{ one, other string }

// words are the words of one language.
type words struct {
	// tag chooses the plural rule the forms were written for.
	tag                       language.Tag
	months                    []string
	day, hour, minute, second unit
}

// same is a unit whose plural has no form of its own.
func same(word string) unit { return unit{one: word, other: word} }

// wordsOf returns the words of a base language.
func wordsOf(base string) *words {
	w := &words{
		tag: language.English,
		day: unit{"day", "days"}, hour: unit{"hour", "hours"},
		minute: unit{"minute", "minutes"}, second: unit{"second", "seconds"},
	}
	switch base {
	case "en":
		w.months = []string{
			"January", "February", "March", "April", "May", "June",
			"July", "August", "September", "October", "November", "December",
		}
	case "id":
		w.tag = language.Indonesian
		w.months = []string{
			"Januari", "Februari", "Maret", "April", "Mei", "Juni",
			"Juli", "Agustus", "September", "Oktober", "November", "Desember",
		}
		w.day, w.hour, w.minute, w.second = same("hari"), same("jam"), same("menit"), same("detik")
	case "ms":
		w.tag = language.Malay
		w.months = []string{
			"Januari", "Februari", "Mac", "April", "Mei", "Jun",
			"Julai", "Ogos", "September", "Oktober", "November", "Disember",
		}
		w.day, w.hour, w.minute, w.second = same("hari"), same("jam"), same("minit"), same("saat")
	}
	return w
}
