package endpoints

import "strings"

// Scheme is one row of the table of schemes. A scheme precedes "://", follows "jdbc:", or,
// in Kafka's lists, precedes a listener.
type Scheme struct {
	Name string
	// Port is the default port of such a server; 0 if there is none.
	Port int
	// Left says why hosts with the scheme are left out; "" if they are not.
	Left string
}

// Reasons why hosts with a scheme are left out.
const (
	bySRV = "its hosts are in DNS (SRV) and not in the value: list them with their ports"
	byUDP = "it speaks UDP, which is never captured"
	byXDS = "its hosts come from a control plane"
)

// Schemes returns the table. If a driver follows the scheme after a "+", as in
// postgresql+psycopg2, the row of the scheme without the driver applies, unless there is a
// row for both.
func Schemes() []Scheme { return schemes }

var schemes = []Scheme{
	{"http", 80, ""}, {"https", 443, ""}, {"ws", 80, ""}, {"wss", 443, ""},
	{"grpc", 0, ""}, {"grpcs", 443, ""}, {"tcp", 0, ""}, {"ssl", 0, ""}, {"tls", 0, ""},
	{"postgres", 5432, ""}, {"postgresql", 5432, ""}, {"pgsql", 5432, ""}, {"cockroachdb", 26257, ""}, {"redshift", 5439, ""},
	{"mysql", 3306, ""}, {"mysqlx", 33060, ""}, {"mariadb", 3306, ""}, {"mysql+srv", 0, bySRV}, {"mysqlx+srv", 0, bySRV},
	{"sqlserver", 1433, ""}, {"mssql", 1433, ""}, {"oracle", 1521, ""}, {"db2", 50000, ""}, {"clickhouse", 0, ""}, {"trino", 0, ""},
	{"mongodb", 27017, ""}, {"mongodb+srv", 0, bySRV},
	{"redis", 6379, ""}, {"rediss", 6379, ""}, {"valkey", 6379, ""}, {"valkeys", 6379, ""}, {"redis+sentinel", 26379, ""}, {"redis-sentinel", 26379, ""},
	{"amqp", 5672, ""}, {"amqps", 5671, ""}, {"rabbitmq", 5672, ""},
	{"kafka", 9092, ""}, {"plaintext", 9092, ""}, {"sasl_plaintext", 9092, ""}, {"sasl_ssl", 9092, ""},
	{"nats", 4222, ""}, {"pulsar", 6650, ""}, {"pulsar+ssl", 6651, ""}, {"mqtt", 1883, ""}, {"mqtts", 8883, ""}, {"stomp", 61613, ""},
	{"memcached", 11211, ""}, {"memcache", 11211, ""}, {"cassandra", 9042, ""}, {"bolt", 7687, ""}, {"neo4j", 7687, ""},
	{"etcd", 2379, ""}, {"zookeeper", 2181, ""}, {"zk", 2181, ""},
	{"ldap", 389, ""}, {"ldaps", 636, ""}, {"smtp", 25, ""}, {"smtps", 465, ""}, {"submission", 587, ""},
	{"ftp", 21, ""}, {"sftp", 22, ""}, {"ssh", 22, ""},
	{"udp", 0, byUDP}, {"statsd", 0, byUDP}, {"syslog", 0, byUDP}, {"xds", 0, byXDS},
}

// scheme returns the row of a scheme, in any case.
func scheme(name string) (row Scheme, known bool) {
	name = strings.ToLower(name)
	for {
		for _, s := range schemes {
			if s.Name == name {
				return s, true
			}
		}
		base, _, driver := strings.Cut(name, "+")
		if !driver {
			return Scheme{Name: name}, false
		}
		name = base
	}
}
