package manifests

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/transformer"
)

// runtime is a guess about the program that a container runs.
type runtime struct {
	name string
	// by is the evidence for it.
	by string
	// reads is whether the program reads proxy variables.
	reads bool
	// java is set if JVM flags send its calls to the sidecar.
	java bool
}

// hint is a row of the table of evidence. A row matches the last part of an image's name, the
// program that the command runs, or the name of a variable.
type hint struct {
	name      string
	image     *regexp.Regexp
	programs  []string
	variables []string
	reads     func(tag string) (reads, sure bool)
	java      bool
}

func always(string) (bool, bool) { return true, true }
func never(string) (bool, bool)  { return false, true }

// ends matches images whose names end in one of the words, perhaps followed by a version or a
// distribution. A name with any other ending is another program, such as node-exporter or
// kafka-exporter.
func ends(words string) *regexp.Regexp {
	return regexp.MustCompile(`^(?:.*[-_])?(?:` + words + `)(?:[-_]?(?:[\d.]+|jre|jdk|fpm|alpine|slim|debian\d*|ubi\d*))*$`)
}

// hints is that table. The first row that matches decides. A Go program can't be recognised,
// because its image has no typical name.
var hints = []hint{
	{name: "Java", image: ends(`openjdk|java|jre|jdk|temurin|corretto|amazoncorretto|zulu|tomcat|jetty|wildfly|keycloak|kafka|zookeeper|elasticsearch|cassandra|solr|activemq|jenkins`), programs: []string{"java"},
		variables: []string{"JAVA_TOOL_OPTIONS", "JAVA_OPTS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "JAVA_HOME", "JVM_OPTS", "SPRING_PROFILES_ACTIVE", "CATALINA_OPTS"}, reads: never, java: true},
	{name: "Node.js", image: ends(`node|nodejs`), programs: []string{"node", "npm", "npx", "yarn"}, variables: []string{"NODE_ENV", "NODE_OPTIONS"}, reads: nodeReads},
	{name: "Python", image: ends(`python`), programs: []string{"python", "python3"}, variables: []string{"PYTHONPATH", "PYTHONUNBUFFERED"}, reads: always},
	{name: "Ruby", image: ends(`ruby|rails`), programs: []string{"ruby", "bundle"}, variables: []string{"RAILS_ENV"}, reads: always},
	{name: "PHP", image: ends(`php`), programs: []string{"php", "php-fpm"}, reads: always},
	{name: ".NET", image: ends(`dotnet|aspnet`), programs: []string{"dotnet"}, variables: []string{"ASPNETCORE_URLS", "ASPNETCORE_ENVIRONMENT"}, reads: always},
	{name: "curl", image: ends(`curl`), programs: []string{"curl", "wget", "git"}, reads: always},
}

// nodeVersion matches the version of a tag such as 22.21.1-alpine.
var nodeVersion = regexp.MustCompile(`^v?(\d+)(?:\.(\d+))?`)

// nodeReads guesses from a tag whether Node.js reads proxy variables, which it does from 22.21 and 24
// on.
func nodeReads(tag string) (reads, sure bool) {
	m := nodeVersion.FindStringSubmatch(tag)
	if m == nil {
		return false, false
	}
	major, err := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2]) // "" is 0
	switch {
	case err != nil:
		return false, false
	case major >= 24:
		return true, true
	case major < 22, major == 23, m[2] != "" && minor < 21:
		return false, true
	}
	return m[2] != "", m[2] != "" // the tag 22 may be an older 22.x
}

// runtimeOf guesses what a container runs. It returns false if nothing shows the program, or its
// version.
func runtimeOf(c transformer.CaptureContainer) (runtime, bool) {
	name, tag := imageName(c.Image)
	programs := programsOf(c.Program)
	for _, h := range hints {
		program := slices.IndexFunc(programs, func(p string) bool { return slices.Contains(h.programs, p) })
		variable := slices.IndexFunc(c.Variables, func(v string) bool { return slices.Contains(h.variables, v) })
		r := runtime{name: h.name, java: h.java}
		switch {
		case program >= 0:
			r.by = "its command " + programs[program]
		case h.image.MatchString(name):
			r.by = "its image " + cmp.Or(strings.TrimSuffix(name+":"+tag, ":"), name)
		case variable >= 0:
			r.by = "its variable " + c.Variables[variable]
		default:
			continue
		}
		if !h.image.MatchString(name) {
			tag = "" // it is the tag of another program
		}
		var sure bool
		r.reads, sure = h.reads(tag)
		return r, sure
	}
	return runtime{}, false
}

// starters are programs that run another one, which their arguments name.
var starters = []string{"sh", "bash", "ash", "env", "tini", "dumb-init"}

// programsOf returns the names of the programs that a command may run: its first word, or any
// argument of a starter.
func programsOf(command []string) (names []string) {
	for _, words := range command {
		for _, word := range strings.Fields(words) {
			names = append(names, path.Base(word))
		}
		if !slices.Contains(starters, path.Base(command[0])) {
			break
		}
	}
	return names
}

// imageName splits an image's reference into the last part of its name and its tag.
func imageName(ref string) (name, tag string) {
	ref, _, _ = strings.Cut(ref, "@")
	name, tag, _ = strings.Cut(path.Base(ref), ":")
	return strings.ToLower(name), tag
}
