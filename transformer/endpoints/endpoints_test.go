package endpoints_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/transformer/endpoints"
)

// word is the password in the values below. No reading may contain it.
const word = "hunter2"

// values are forms in which programs get the hosts to connect to, with the expected hosts, and
// after a bar why other hosts are left out.
var values = map[string]string{
	// A host and a port, as Kubernetes' own examples have them.
	"postgres:5432":                          "postgres:5432",
	"postgres.db.svc.cluster.local:5432":     "postgres.db.svc.cluster.local:5432",
	"Postgres.DB.:5432":                      "postgres.db:5432",
	"kafka-0.kafka:9092,kafka-1.kafka:9092":  "kafka-0.kafka:9092 kafka-1.kafka:9092",
	"kafka-0.kafka:9092, kafka-1.kafka:9092": "kafka-0.kafka:9092 kafka-1.kafka:9092",
	"es-0:9200;es-1:9200":                    "es-0:9200 es-1:9200",
	"memcached-0:11211 memcached-1:11211":    "memcached-0:11211 memcached-1:11211",
	"memcached-0:11211\nmemcached-1:11211\n": "memcached-0:11211 memcached-1:11211",
	"redis:6379/0":                           "redis:6379",
	"zk-0:2181,zk-1:2181/kafka":              "zk-0:2181 zk-1:2181",
	"redis:6379,password=hunter2,ssl=False":  "redis:6379", // StackExchange.Redis
	`"postgres:5432"`:                        "postgres:5432",
	"0x:80":                                  "", // no resolver reads it as a name

	// URLs.
	"https://api.stripe.com":                   "api.stripe.com:443",
	"https://api.stripe.com/v1?x=1#y":          "api.stripe.com:443",
	"HTTP://Orders.Shop:8080/":                 "orders.shop:8080",
	"http://orders":                            "orders:80",
	"wss://stream.example.com/feed":            "stream.example.com:443",
	"https://example.com/@scope/package":       "example.com:443",
	"http://es-0:9200,http://es-1:9200":        "es-0:9200 es-1:9200",
	"http://es-0:9200 http://es-1:9200":        "es-0:9200 es-1:9200",
	"https://user:hunter2@es.example.com:9243": "es.example.com:9243",
	"http://user:pass:word@h.example.com/":     "h.example.com:80",
	"http://orders:":                           "orders:80",
	"http://:8080":                             "",
	"http://":                                  "",
	"grpc://orders:50051":                      "orders:50051",
	"dns:///orders.shop:50051":                 "orders.shop:50051",
	"dns:orders.shop:50051":                    "orders.shop:50051",
	"dns://8.8.8.8/orders.shop:50051":          "orders.shop:50051",
	"dns://8.8.8.8":                            "",
	"passthrough:///orders:50051":              "orders:50051",
	"dns:53":                                   "dns:53",
	"xds:///orders:50051":                      "", // the authority is empty
	"unix:///var/run/app.sock":                 "",
	"tcp://10.96.0.1:443":                      "| it is an IP address, and programs don't look up addresses in a hosts file",
	"tcp://orders:9000":                        "orders:9000",
	"http://[::1]:8080/":                       "| it is an IP address, and programs don't look up addresses in a hosts file",
	"http://localhost:8080":                    "| it is the pod's own loopback, which is never captured",
	"localhost:5432":                           "| it is the pod's own loopback, which is never captured",
	"127.0.0.1:5432":                           "| it is an IP address, and programs don't look up addresses in a hosts file",
	"10.0.0.1:5432":                            "| it is an IP address, and programs don't look up addresses in a hosts file",
	"http://*.example.com":                     "| it has a wildcard, and hosts files have no wildcards",
	"http://$(ORDERS_SERVICE_HOST):8080":       "| its host refers to a variable whose value is not known",
	"http://orders:$(PORT)":                    "| its host refers to a variable whose value is not known",
	"$(REDIS_SERVICE_HOST):6379":               "| its host refers to a variable whose value is not known",
	"s3://bucket/prefix":                       "", // no host, but a bucket
	"gs://bucket":                              "",
	"minio://minio:9000/bucket":                "minio:9000", // an unknown scheme, but with a port
	"spiffe://cluster.local/ns/shop":           "",
	"udp://statsd:8125":                        "| it speaks UDP, which is never captured",

	// Databases.
	"postgres://shop:hunter2@postgres.db/shop?sslmode=disable":                  "postgres.db:5432",
	"postgresql://shop:hunter2@pg-0:5433,pg-1:5434/shop":                        "pg-0:5433 pg-1:5434",
	"postgresql+psycopg2://shop:hunter2@postgres/shop":                          "postgres:5432",
	"postgresql:///shop?host=/var/run/postgresql":                               "",
	"postgres://shop:hun/ter@postgres/shop":                                     "| " + endpoints.LeftUnclear,
	"postgres://shop:12/34@postgres/shop":                                       "| " + endpoints.LeftUnclear,
	"postgres://shop:p#hunter2@postgres/shop":                                   "| " + endpoints.LeftUnclear,
	"postgres://shop:a@hunter2@postgres/shop":                                   "postgres:5432", // it ends at the last @
	"postgres://shop:a,hunter2@postgres/shop":                                   "postgres:5432",
	"postgres://shop:$(PASSWORD)@postgres/shop":                                 "postgres:5432",
	"mysql://root:hunter2@mysql:3307/shop":                                      "mysql:3307",
	"mysql+pymysql://root@mysql/shop":                                           "mysql:3306",
	"mongodb://u:hunter2@mongo-0.mongo,mongo-1.mongo:27018/shop?replicaSet=rs0": "mongo-0.mongo:27017 mongo-1.mongo:27018",
	"mongodb+srv://u:hunter2@cluster0.example.mongodb.net/shop":                 "| its hosts are in DNS (SRV) and not in the value: list them with their ports",
	"redis://:hunter2@redis:6380/0":                                             "redis:6380",
	"rediss://redis.example.com":                                                "redis.example.com:6379",
	"redis+sentinel://sentinel-0,sentinel-1/mymaster":                           "sentinel-0:26379 sentinel-1:26379",
	"amqp://guest:hunter2@rabbitmq/vhost":                                       "rabbitmq:5672",
	"amqps://b-1.mq.eu-central-1.amazonaws.com":                                 "b-1.mq.eu-central-1.amazonaws.com:5671",
	"PLAINTEXT://kafka-0:9092,SASL_SSL://kafka-1:9094":                          "kafka-0:9092 kafka-1:9094",
	"nats://nats-0:4222,nats://nats-1":                                          "nats-0:4222 nats-1:4222",
	"memcached://cache":                                                         "cache:11211",
	"mqtt://broker":                                                             "broker:1883",
	"ldap://ldap.example.com/dc=example":                                        "ldap.example.com:389",
	"ldaps://ldap.example.com":                                                  "ldap.example.com:636",
	"smtp://mail:1025":                                                          "mail:1025",
	"bolt+s://neo4j":                                                            "neo4j:7687",
	"sqlite:///var/lib/app.db":                                                  "",

	// JDBC and R2DBC.
	"jdbc:postgresql://postgres.db:5432/shop?user=u&password=hunter2": "postgres.db:5432",
	"jdbc:postgresql://pg-0,pg-1:5433/shop":                           "pg-0:5432 pg-1:5433",
	"jdbc:postgresql:shop":                                            "",
	"jdbc:postgresql:///shop":                                         "",
	"r2dbc:postgresql://postgres/shop":                                "postgres:5432",
	"r2dbc:pool:mysql://mysql/shop":                                   "mysql:3306",
	"jdbc:mysql://mysql/shop":                                         "mysql:3306",
	"jdbc:mysql:loadbalance://db-0:3306,db-1/shop":                    "db-0:3306 db-1:3306",
	"jdbc:mysql:replication://db-0,db-1/shop":                         "db-0:3306 db-1:3306",
	"jdbc:mysql://address=(host=db-0)(port=3307)(user=u),address=(port=3308)(host=db-1)/shop": "db-0:3307 db-1:3308",
	"jdbc:mysql+srv://db.example.com/shop":                                                    "| its hosts are in DNS (SRV) and not in the value: list them with their ports",
	"jdbc:mariadb:sequential://db-0,db-1/shop":                                                "db-0:3306 db-1:3306",
	"jdbc:aws-wrapper:postgresql://db.cluster-x.eu-central-1.rds.amazonaws.com/shop":          "db.cluster-x.eu-central-1.rds.amazonaws.com:5432",
	"jdbc:sqlserver://mssql:1434;databaseName=shop;user=sa;password=hunter2":                  "mssql:1434",
	"jdbc:sqlserver://mssql;encrypt=true;password={hunter2;x}":                                "mssql:1433",
	`jdbc:sqlserver://mssql\SHOP:1435;user=sa`:                                                "mssql:1435",
	`jdbc:sqlserver://mssql\SHOP;user=sa`:                                                     "| " + endpoints.LeftInstance,
	"jdbc:sqlserver://;serverName=mssql;portNumber=1436":                                      "mssql:1436",
	"jdbc:oracle:thin:@oracle:1521:ORCL":                                                      "oracle:1521",
	"jdbc:oracle:thin:@//oracle:1521/shop":                                                    "oracle:1521",
	"jdbc:oracle:thin:scott/hunter2@//oracle/shop":                                            "oracle:1521",
	"jdbc:oracle:thin:scott/hunter2@oracle:1522:ORCL":                                         "oracle:1522",
	"jdbc:oracle:thin:@tcps://oracle:2484/shop":                                               "oracle:2484",
	"jdbc:oracle:thin:@(DESCRIPTION=(ADDRESS_LIST=(ADDRESS=(PROTOCOL=TCP)(HOST=ora-0)(PORT=1521))(ADDRESS=(PROTOCOL=TCP)(HOST=ora-1)(PORT=1522)))(CONNECT_DATA=(SERVICE_NAME=shop)))": "ora-0:1521 ora-1:1522",
	"jdbc:oracle:thin:@shop_high":            "| " + endpoints.LeftAlias,
	"jdbc:h2:mem:shop":                       "",
	"jdbc:h2:tcp://h2:9092/shop":             "h2:9092",
	"jdbc:clickhouse://clickhouse:8123/shop": "clickhouse:8123",
	"jdbc:":                                  "",
	"jdbc://":                                "",

	// DSNs.
	"shop:hunter2@tcp(mysql:3306)/shop?parseTime=true":                        "mysql:3306",
	"shop:p@ss/hunter2@tcp(mysql)/shop":                                       "mysql:3306",
	"shop:http://x@tcp(mysql:3306)/shop":                                      "mysql:3306",
	"tcp(mysql:3306)/":                                                        "mysql:3306",
	"shop@unix(/var/run/mysqld.sock)/shop":                                    "",
	"host=postgres port=5432 user=shop dbname=shop":                           "postgres:5432",
	"host=postgres dbname=shop password='hunter2 host=x'":                     "postgres:5432",
	`host=pg-0,pg-1 port=5433 password=a\ b user=u`:                           "pg-0:5433 pg-1:5433",
	"host=pg-0,pg-1 port=5433,5434 user=u":                                    "pg-0:5433 pg-1:5434",
	"host=/var/run/postgresql dbname=shop":                                    "",
	"dbname=shop user=u":                                                      "",
	"host=postgres user=u password='hunter2":                                  "",
	"Server=tcp:mssql.shop,1433;Initial Catalog=shop;Password=hunter2;":       "mssql.shop:1433",
	"Data Source=mssql,1434;User Id=sa;Password=hunter2":                      "mssql:1434",
	"Server=mssql;Database=shop;TrustServerCertificate=True;Password=hunter2": "mssql:1433",
	"Host=postgres;Port=5433;Username=u;Password=hunter2":                     "postgres:5433",
	"Host=postgres;Username=u;Password=hunter2":                               "postgres:0", // Npgsql or MySQL: the value does not say
	"Server=mysql;Port=3306;Uid=u;Pwd='a;Server=hunter2'":                     "mysql:3306",
	"Data Source=oracle:1521/shop;User Id=u":                                  "oracle:1521",
	`Server=.\SQLEXPRESS;Database=shop`:                                       "| " + endpoints.LeftInstance,

	// These values name no endpoint.
	"": "", "true": "", "8080": "", "shop": "", "info": "", "12:30": "", "1:2:3": "", "a:b": "", "shop:hunter2": "",
	"hunter2:x@y": "", "/var/lib/app": "", "C:\\app": "", "2026-11-29T04:35:00Z": "", "16Mi": "", "key=value": "", "a=b;c=d": "",
	"-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n": "", "user@example.com": "", "urn:isbn:123": "", "://": "", "x://": "", "%%": "",
	"AccountEndpoint=https://x.documents.azure.com:443/;AccountKey=hunter2==;": "",
}

func TestWhatAValueNames(t *testing.T) {
	for value, want := range values {
		got := describe(endpoints.Read(value))
		if got != want {
			t.Errorf("%q:\n got %q\nwant %q", value, got, want)
		}
	}
}

func describe(r endpoints.Reading) string {
	var words []string
	for _, e := range r.Endpoints {
		words = append(words, fmt.Sprintf("%s:%d", e.Host, e.Port))
	}
	if len(r.Left) > 0 {
		words = append(words, "|", strings.Join(r.Left, "; "))
	}
	return strings.Join(words, " ")
}

// A password is recognized in every form, and never mistaken for a host.
func TestNoPasswordIsTakenForAHost(t *testing.T) {
	for value := range values {
		if got := describe(endpoints.Read(value)); strings.Contains(got, word) {
			t.Errorf("%q: %s", value, got)
		}
	}
	for _, password := range []string{"a@b", "a/b", "a:1", "a?b", "a#b", "a,b:1", "12/34", "x.com:443/", "@", "//h:1", "(h:1)", ";Server=h", "a b", "http://h"} {
		for _, form := range []string{"postgres://u:%s@db.example.com:5432/shop", "u:%s@tcp(db.example.com:5432)/shop", "host=db.example.com port=5432 user=u password='%s'", `Server=db.example.com;Port=5432;Password="%s"`} {
			for _, e := range endpoints.Read(fmt.Sprintf(form, password)).Endpoints {
				if e != (endpoints.Endpoint{Host: "db.example.com", Port: 5432}) {
					t.Errorf("%s with password %q: %v", form, password, e)
				}
			}
		}
	}
}

func TestTheTableOfSchemes(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range endpoints.Schemes() {
		if seen[s.Name] || s.Name != strings.ToLower(s.Name) || s.Port < 0 || s.Port > 65535 || s.Left != "" && s.Port != 0 {
			t.Errorf("%+v", s)
		}
		seen[s.Name] = true
	}
}

func ExampleRead() {
	r := endpoints.Read("postgres://shop:secret@pg-0,pg-1:5433/shop")
	fmt.Println(r.Endpoints)
	// Output: [{pg-0 5432} {pg-1 5433}]
}

// A host that is read from any value can be captured, and a reason contains nothing of the value.
func FuzzRead(f *testing.F) {
	for value := range values {
		f.Add(value)
	}
	reasons := []string{endpoints.LeftUnclear, endpoints.LeftReference, endpoints.LeftAlias, endpoints.LeftInstance}
	for _, s := range endpoints.Schemes() {
		reasons = append(reasons, s.Left)
	}
	f.Fuzz(func(t *testing.T, value string) {
		r := endpoints.Read(value)
		for _, e := range r.Endpoints {
			if err := contract.CheckCaptureHost(e.Host); err != nil || e.Port < 0 || e.Port > 65535 || e.Host != strings.ToLower(e.Host) {
				t.Errorf("%q: %+v: %v", value, e, err)
			}
			if !strings.Contains(strings.ToLower(value), e.Host) {
				t.Errorf("%q: %+v is not part of it", value, e)
			}
		}
		for _, why := range r.Left {
			if !slices.Contains(reasons, why) && !strings.HasPrefix(why, "it") {
				t.Errorf("%q: %q", value, why)
			}
		}
	})
}
