package carry

// issued holds the last two steps that issued a value.
type issued struct {
	step, before       uint32 // counted from 1; 0 means none
	place, placeBefore placeID
	form, formBefore   uint8
	class              uint8 // index in Finder.classes
	client, several    bool
}

// response remembers the values that the response issues.
func (f *Finder) response() {
	h := &f.e.HTTP.Res
	location := h.Headers.Get("Location")
	f.created = h.StatusCode == 201 || location != ""
	f.location = 0
	if location != "" {
		path := location[pathStart(location):]
		f.location = f.objects.of(path[:endOf(path, "?#")], false)
	}
	f.issues = f.o.Rules.that(f.e, issues)
	f.w.visit = f.issuer
	f.w.response(f.e)
}

// issuer visits each string of a response.
func (f *Finder) issuer(text string) string {
	w := f.w
	name := w.name()
	for _, r := range f.issues {
		if r.from.is(w.path) {
			f.issue(f.key(keyRule, r.name, ""), classRule, f.ruleForm(text), true)
		}
	}
	switch {
	case w.kind == inCookie:
		f.issue(f.key(keyCookie, name, text), classCookie, whole, true)
	case w.kind == inHeader && (name == "Etag" || name == "Last-Modified"):
		f.issue(f.validator(f.object, name, text), classValidator, whole, true)
		if f.location != 0 {
			f.issue(f.validator(f.location, name, text), classValidator, whole, true)
		}
	}
	for _, i := range [...]uint8{whole, behindScheme, inQuotes, inBase64, percent} {
		value, ok := forms[i].take(text)
		if !ok {
			continue
		}
		if mayBeValue(value) {
			if label, ok := f.judge.worth(value, name, f.e.TS); ok {
				f.issue(f.key(keyPlain, "", value), label, i, false)
				continue
			}
		}
		if i == whole && isShortID(value) {
			f.issueShort(value)
		}
		if w.kind == inNumber {
			break
		}
	}
	return text
}

func (f *Finder) issueShort(value string) {
	if f.w.kind == inSegment {
		if of := ofSegment(f.w.previous); of != "" {
			f.issue(f.key(keyShort, of, value), classID, whole, f.created)
		}
		return
	}
	for _, of := range f.things() {
		f.issue(f.key(keyShort, of, value), classID, whole, f.created)
	}
}

// issue records that the step issues a value. If the client has sent the value before, the step does
// not issue it, unless isNew says that the response created it.
func (f *Finder) issue(key uint64, label string, form uint8, isNew bool) {
	v, ok := f.values.get(key)
	if v.client && !isNew || v.step == f.step+1 {
		return
	}
	place := f.w.place(true)
	if place == none {
		return
	}
	if !ok || v.client {
		v = issued{class: f.class(label)}
	}
	self := f.root(f.step)
	if v.step != 0 && !v.several {
		if first := f.root(v.step - 1); first != self && (f.steps[first].known || f.steps[self].known) {
			v.several = true
			f.setOwn(key, first, v)
		}
	}
	next := v.and(f.step+1, place, form)
	if v.several {
		o, _ := f.own(key, self)
		o.class = v.class
		f.setOwn(key, self, o.and(f.step+1, place, form))
	}
	f.values.set(key, next)
}

// nobody stands for all sessions without a known caller, because the server can't distinguish these
// either.
const nobody = ^uint32(0)

// own returns the steps that issued a value to one session, if the value was issued to several.
func (f *Finder) own(key uint64, session uint32) (v issued, ok bool) {
	v, ok = f.values.get(f.numbered(keyOwn, key, ownText(session)))
	if !ok && !f.steps[session].known {
		v, ok = f.values.get(f.numbered(keyOwn, key, ownText(nobody)))
	}
	return v, ok
}

func (f *Finder) setOwn(key uint64, session uint32, v issued) {
	v.several = false
	f.values.set(f.numbered(keyOwn, key, ownText(session)), v)
	if !f.steps[session].known {
		f.values.set(f.numbered(keyOwn, key, ownText(nobody)), v)
	}
}

func ownText(session uint32) string {
	return string([]byte{byte(session), byte(session >> 8), byte(session >> 16), byte(session >> 24)})
}

// and returns v with another step that issued the value.
func (v issued) and(step uint32, place placeID, form uint8) issued {
	v.before, v.placeBefore, v.formBefore = v.step, v.place, v.form
	v.step, v.place, v.form = step, place, form
	return v
}

func (f *Finder) class(label string) uint8 {
	for i, c := range f.classes {
		if c == label {
			return uint8(i)
		}
	}
	f.classes = append(f.classes, label)
	return uint8(len(f.classes) - 1)
}
