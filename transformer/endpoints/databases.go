package endpoints

import (
	"regexp"
	"slices"
	"strings"
)

// readJDBC reads JDBC and R2DBC URLs: jdbc:DATABASE:[MODE:]//HOSTS/….
func readJDBC(r *Reading, value string) bool {
	lower := strings.ToLower(value)
	if !strings.HasPrefix(lower, "jdbc:") && !strings.HasPrefix(lower, "r2dbc:") {
		return false
	}
	_, rest, _ := strings.Cut(value, ":")
	if _, oracle, ok := cutFold(rest, "oracle:"); ok {
		r.oracle(oracle)
		return true
	}
	at := strings.Index(rest, "//")
	if at < 0 {
		return true // a file, or a database on this machine
	}
	// Wrappers precede the database (aws-wrapper:postgresql) and modes follow it
	// (mysql:loadbalance), so the first known word is the database.
	words := strings.FieldsFunc(rest[:at], func(c rune) bool { return c == ':' })
	if len(words) == 0 {
		return true
	}
	s, known := scheme(words[len(words)-1])
	for _, word := range words {
		if row, ok := scheme(word); ok {
			s, known = row, true
			break
		}
	}
	if slices.Contains(words, "srv") {
		s.Left = bySRV
	}
	if s.Name == "sqlserver" {
		r.sqlServer(rest[at+2:], s)
		return true
	}
	r.authority(rest[at+2:], s, known)
	return true
}

// cutFold cuts a prefix, in any case, from a text.
func cutFold(text, prefix string) (before, after string, found bool) {
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return text, "", false
	}
	return text[:len(prefix)], text[len(prefix):], true
}

// oracle reads what follows "jdbc:oracle:" in a URL of the thin driver:
//
//	thin:USER/PASSWORD@//HOST:PORT/SERVICE, …@HOST:PORT:SID, …@tcps://HOST:PORT/SERVICE
//	thin:@(DESCRIPTION=(ADDRESS=(PROTOCOL=TCP)(HOST=…)(PORT=…))…)
func (r *Reading) oracle(rest string) {
	s, _ := scheme("oracle")
	at := strings.LastIndex(rest, "@")
	if at < 0 {
		return
	}
	rest = rest[at+1:]
	if r.addresses(rest, s) {
		return
	}
	if name, after, ok := strings.Cut(rest, "://"); ok {
		if name = strings.ToLower(name); name != "tcp" && name != "tcps" {
			return
		}
		rest = after
	}
	rest = strings.TrimPrefix(rest, "//")
	if !strings.ContainsAny(rest, ":/") {
		r.leave(LeftAlias)
		return
	}
	hosts, _, _ := strings.Cut(rest, "/")
	for host := range strings.SplitSeq(hosts, ",") {
		parts := strings.SplitN(host, ":", 3) // the third is a SID
		r.hostPort(strings.Join(parts[:min(2, len(parts))], ":"), s)
	}
}

// sqlServer reads HOST[\INSTANCE][:PORT][;NAME=VALUE…]. The host may be one of the
// settings instead.
func (r *Reading) sqlServer(rest string, s Scheme) {
	host, settings, _ := strings.Cut(rest, ";")
	if host == "" {
		set := adoSettings(settings)
		host = set["servername"] + set["server"]
		if port := set["portnumber"] + set["port"]; port != "" {
			host += ":" + port
		}
		if set["instancename"] != "" && !strings.Contains(host, ":") {
			host += `\` + set["instancename"]
		}
	}
	host, _, _ = strings.Cut(host, "/")
	r.sqlServerHost(host, s)
}

// sqlServerHost reads HOST[\INSTANCE][:PORT].
func (r *Reading) sqlServerHost(host string, s Scheme) {
	name, instance, named := strings.Cut(host, `\`)
	_, port, _ := strings.Cut(instance, ":")
	switch {
	case named && port == "":
		r.leave(LeftInstance)
	case named:
		r.hostPort(name+":"+port, s)
	default:
		r.hostPort(host, s)
	}
}

// mysqlAddress matches the address in a DSN of Go's MySQL driver, after the last @:
// https://github.com/go-sql-driver/mysql#dsn-data-source-name.
var mysqlAddress = regexp.MustCompile(`^(tcp|tcp4|tcp6)\(([^()]*)\)$`)

// readMySQL reads a DSN of Go's MySQL driver, from its end, as the driver does.
func readMySQL(r *Reading, value string) bool {
	slash := strings.LastIndex(value, "/")
	if slash < 0 {
		return false
	}
	address := value[:slash]
	if at := strings.LastIndex(address, "@"); at >= 0 {
		address = address[at+1:]
	}
	m := mysqlAddress.FindStringSubmatch(address)
	if m == nil {
		return false
	}
	s, _ := scheme("mysql")
	r.hostPort(m[2], s)
	return true
}

// readLibpq reads a libpq connection string:
// https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE.
func readLibpq(r *Reading, value string) bool {
	set, ok := libpqSettings(value)
	if !ok || set["host"] == "" || len(set) < 2 {
		return false
	}
	s, _ := scheme("postgres")
	ports := strings.Split(set["port"], ",")
	for i, host := range strings.Split(set["host"], ",") {
		if port := ports[min(i, len(ports)-1)]; port != "" {
			host += ":" + port
		}
		r.hostPort(host, s)
	}
	return true
}

var libpqKey = regexp.MustCompile(`^\s*([a-z_]+)\s*=\s*`)

// libpqSettings splits a connection string. It returns false if the text is not one.
func libpqSettings(text string) (map[string]string, bool) {
	set := map[string]string{}
	for strings.TrimSpace(text) != "" {
		m := libpqKey.FindStringSubmatch(text)
		if m == nil {
			return nil, false
		}
		text = text[len(m[0]):]
		quoted := strings.HasPrefix(text, "'")
		if quoted {
			text = text[1:]
		}
		var b strings.Builder
		i, closed := 0, !quoted
		for ; i < len(text); i++ {
			c := text[i]
			if c == '\\' && i+1 < len(text) {
				i++
				b.WriteByte(text[i])
				continue
			}
			if quoted && c == '\'' {
				closed = true
				i++
				break
			}
			if !quoted && strings.IndexByte(" \t\r\n", c) >= 0 {
				break
			}
			b.WriteByte(c)
		}
		if !closed {
			return nil, false
		}
		set[m[1]], text = b.String(), text[i:]
	}
	return set, true
}

// These are keywords of ADO.NET drivers, without blanks.
var (
	// adoHosts are the keywords for the host.
	adoHosts = []string{"server", "datasource", "host", "address", "addr", "networkaddress"}
	// adoSQLServer are keywords that only the SQL Server driver has.
	adoSQLServer = []string{"initialcatalog", "trustservercertificate", "multipleactiveresultsets", "integratedsecurity", "multisubnetfailover"}
)

// readADO reads an ADO.NET connection string: Server=tcp:HOST,PORT;Database=…, or
// Host=HOST;Port=PORT;….
func readADO(r *Reading, value string) bool {
	if !strings.Contains(value, ";") {
		return false
	}
	set := adoSettings(value)
	host, s := "", Scheme{}
	for _, key := range adoHosts {
		if set[key] != "" {
			host = set[key]
			break
		}
	}
	if host == "" || len(set) < 2 {
		return false
	}
	if r.addresses(host, Scheme{Port: 1521}) {
		return true
	}
	if slices.ContainsFunc(adoSQLServer, func(key string) bool { return set[key] != "" }) {
		s, _ = scheme("sqlserver")
	}
	if _, after, ok := cutFold(host, "tcp:"); ok {
		host, s = after, Scheme{Name: "sqlserver", Port: 1433}
	}
	host, _, _ = strings.Cut(host, "/") // Oracle's HOST:PORT/SERVICE
	// In SQL Server's form the port follows a comma. In the others, commas separate hosts.
	if name, port, ok := strings.Cut(host, ","); ok && portOf(strings.TrimSpace(port)) != 0 {
		r.sqlServerHost(name+":"+strings.TrimSpace(port), s)
		return true
	}
	for each := range strings.SplitSeq(host, ",") {
		if port := set["port"]; port != "" && !strings.Contains(each, ":") {
			each += ":" + port
		}
		r.sqlServerHost(each, s)
	}
	return true
}

// adoSettings splits NAME=VALUE;NAME=VALUE. A value may be in quotes or braces. It returns
// names in lower case and without blanks. If a name occurs twice, the last one counts.
func adoSettings(text string) map[string]string {
	set := map[string]string{}
	for text != "" {
		name, rest, ok := strings.Cut(text, "=")
		if !ok {
			break
		}
		if i := strings.LastIndex(name, ";"); i >= 0 { // a word without a value
			name = name[i+1:]
		}
		rest = strings.TrimLeft(rest, " ")
		var value string
		end := map[byte]string{'"': `"`, '\'': `'`, '{': `}`}
		if rest != "" && end[rest[0]] != "" {
			value, rest, _ = strings.Cut(rest[1:], end[rest[0]])
			_, text, _ = strings.Cut(rest, ";")
		} else {
			value, text, _ = strings.Cut(rest, ";")
		}
		set[strings.ToLower(strings.Join(strings.Fields(name), ""))] = strings.TrimSpace(value)
	}
	return set
}
