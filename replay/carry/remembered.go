package carry

// remembered is a map that forgets entries that were not used while limit other entries were added.
type remembered[K comparable, V any] struct {
	young, old map[K]V
	limit      int
	forgotten  uint64
}

func (m *remembered[K, V]) get(k K) (v V, ok bool) {
	if v, ok = m.young[k]; ok {
		return v, true
	}
	if v, ok = m.old[k]; ok {
		delete(m.old, k)
		m.set(k, v)
	}
	return v, ok
}

func (m *remembered[K, V]) set(k K, v V) {
	if m.young == nil || len(m.young) >= m.limit {
		m.forgotten += uint64(len(m.old))
		m.old, m.young = m.young, make(map[K]V)
	}
	m.young[k] = v
}
