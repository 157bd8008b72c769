-- The columns of a Tapedeck recording, for DuckDB.
--
--   .read recordings/_duckdb.sql
--   SELECT direction, count(*) FROM exchanges('recordings') GROUP BY ALL;
--
-- Both tables take the place, a directory or the URL of a bucket with the prefix in it
-- ('.' if it is left out), and these options:
--
--   files    Pattern of the files below the place. DuckDB reads only those that a
--            condition on cluster, namespace, workload, date or hour leaves, but lists
--            all that the pattern matches: narrow it where there are very many.
--   lenient  NULL instead of an error for lines and values that can't be read.

CREATE OR REPLACE MACRO recording_lines(
  place := '.', files := 'cluster=*/namespace=*/workload=*/date=*/hour=*/*.jsonl.zst', lenient := false
) AS TABLE
  SELECT * FROM read_json(rtrim(place, '/') || '/' || files,
    columns = {
      "msgType": 'VARCHAR',
      "resource": 'VARCHAR',
      "ts": 'TIMESTAMP',
      "isTls": 'BOOLEAN',
      "l7protocol": 'VARCHAR',
      "duration": 'BIGINT',
      "alpn": 'VARCHAR',
      "tags": 'MAP(VARCHAR, VARCHAR)',
      "uuid": 'VARCHAR',
      "direction": 'VARCHAR',
      "service": 'VARCHAR',
      "tech": 'VARCHAR',
      "network_address": 'VARCHAR',
      "command": 'VARCHAR',
      "location": 'VARCHAR',
      "status": 'VARCHAR',
      "http": 'STRUCT("req" STRUCT("url" VARCHAR, "uri" VARCHAR, "version" VARCHAR, "method" VARCHAR, "host" VARCHAR, "headers" MAP(VARCHAR, VARCHAR[]), "bodyBase64" VARCHAR), "res" STRUCT("contentType" VARCHAR, "statusCode" BIGINT, "statusMessage" VARCHAR, "headers" MAP(VARCHAR, VARCHAR[]), "bodyBase64" VARCHAR))',
      "grpc": 'STRUCT("part" BIGINT, "last" BOOLEAN, "clientBytes" BIGINT, "serverBytes" BIGINT, "messages" STRUCT("from" VARCHAR, "at" BIGINT, "type" VARCHAR, "more" BOOLEAN, "compressed" BOOLEAN, "size" BIGINT, "dataBase64" VARCHAR)[])',
      "websocket": 'STRUCT("part" BIGINT, "last" BOOLEAN, "clientBytes" BIGINT, "serverBytes" BIGINT, "messages" STRUCT("from" VARCHAR, "at" BIGINT, "type" VARCHAR, "more" BOOLEAN, "compressed" BOOLEAN, "size" BIGINT, "dataBase64" VARCHAR)[])',
      "tcp": 'STRUCT("part" BIGINT, "last" BOOLEAN, "clientBytes" BIGINT, "serverBytes" BIGINT, "messages" STRUCT("from" VARCHAR, "at" BIGINT, "type" VARCHAR, "more" BOOLEAN, "compressed" BOOLEAN, "size" BIGINT, "dataBase64" VARCHAR)[])',
      "signature": 'MAP(VARCHAR, VARCHAR)',
      "netinfo": 'STRUCT("id" VARCHAR, "startTime" TIMESTAMP, "downstream" STRUCT("established" TIMESTAMP, "ipAddress" VARCHAR, "port" BIGINT, "hostname" VARCHAR, "bytesSent" BIGINT), "upstream" STRUCT("established" TIMESTAMP, "ipAddress" VARCHAR, "port" BIGINT, "hostname" VARCHAR, "bytesSent" BIGINT))',
      "counters": 'STRUCT("pod" VARCHAR, "process" VARCHAR, "started" TIMESTAMP, "segment" BIGINT, "recorded" UBIGINT, "dropped" UBIGINT, "filtered" UBIGINT, "sampledOut" UBIGINT, "cut" UBIGINT, "incomplete" UBIGINT, "end" BOOLEAN, "redactKey" VARCHAR)'
    },
    hive_types = {cluster: 'VARCHAR', namespace: 'VARCHAR', workload: 'VARCHAR', date: 'DATE', hour: 'INTEGER'},
    hive_partitioning = true, filename = true, format = 'newline_delimited', compression = 'zstd',
    ignore_errors = lenient, maximum_object_size = 67108864
  );

-- One row for each exchange. id is uuid in the form that the tags parent, conversation
-- and tunnel have.
CREATE OR REPLACE MACRO exchanges(
  place := '.', files := 'cluster=*/namespace=*/workload=*/date=*/hour=*/*.jsonl.zst', lenient := false
) AS TABLE
  SELECT cluster, namespace, workload, date, hour, try_cast(hex(try(from_base64(uuid))) AS UUID) AS id,
    * EXCLUDE (cluster, namespace, workload, date, hour, counters)
  FROM recording_lines(place, files := files, lenient := lenient) WHERE msgType = 'rrpair';

-- One row for each complete segment: what its process had recorded and left out.
CREATE OR REPLACE MACRO counters(
  place := '.', files := 'cluster=*/namespace=*/workload=*/date=*/hour=*/*.jsonl.zst', lenient := false
) AS TABLE
  SELECT cluster, namespace, workload, date, hour, ts, unnest(counters), filename
  FROM recording_lines(place, files := files, lenient := lenient) WHERE msgType = 'counters';
