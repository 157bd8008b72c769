package manifests

import (
	"regexp"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/transformer"
)

// Every warning and every reason to skip has a row, which says what it means for a check, or is
// covered by other findings.
func TestEveryReasonHasARow(t *testing.T) {
	for code, reason := range transformer.Reasons() {
		_, known := results[code]
		switch replays := areaOf(code) == "replay"; {
		case known && said[code]:
			t.Errorf("%s has a row, and other findings say it", code)
		case !known && !said[code] && !replays && (reason.Severity != transformer.Error || reason.Skip):
			t.Errorf("%s has no row", code)
		}
	}
}

// A check shows no results, so no fix refers to one, and the text in place of the reference is a
// sentence.
func TestNoFixNamesResults(t *testing.T) {
	sends := regexp.MustCompile(`(?i)the result (says|names|gives|lists|advises)|in the result|(^|[;.,] )(is|are) (named|given|listed|advised) here|those that is`)
	small := regexp.MustCompile(`(^|: )(` + strings.ToLower(strings.Join(names, "|")) + `)('s)? `)
	for code := range transformer.Reasons() {
		r := transformer.NewResult(code, transformer.File{}, "found it")
		for _, f := range findings("Deployment a", r) {
			if sends.MatchString(f.Fix) {
				t.Errorf("%s: %s", code, f.Fix)
			}
			if small.MatchString(f.Found) || small.MatchString(f.Fix) {
				t.Errorf("%s: found a name that begins small: %s → %s", code, f.Found, f.Fix)
			}
		}
	}
}

func TestEveryPortReasonHasARow(t *testing.T) {
	for _, why := range []transformer.PortReason{
		transformer.PortNotTCP, transformer.PortUnresolved, transformer.PortMesh, transformer.PortNotNamed, transformer.PortOutboundOnly, transformer.PortWatched, transformer.PortNotIntercepted,
		transformer.PortUnclear, transformer.PortOldImage, transformer.PortNotServed, transformer.PortHeadless, transformer.PortNoService, transformer.PortProbed, transformer.PortEnds, transformer.PortSocket,
	} {
		if reasons[why].found == nil || reasons[why].fix == nil {
			t.Errorf("%s has no row", why)
		}
	}
}

// The hints about runtimes agree with the table of docs/outbound.md.
func TestHintsAgreeWithRuntimes(t *testing.T) {
	for _, h := range hints {
		rows, read := 0, false
		for _, r := range transformer.Runtimes() {
			if strings.Contains(r.Name, h.name) {
				rows++
				read = read || r.Variables
			}
		}
		reads, sure := h.reads("")
		if rows == 0 || sure && reads && !read || sure && !reads && read {
			t.Errorf("%s: %d rows, of which some reads proxy variables: %v; the hint says %v", h.name, rows, read, reads)
		}
	}
}

func TestRuntimeOf(t *testing.T) {
	for _, test := range []struct {
		image     string
		program   []string
		variables []string
		want      string // its name, " reads" if it reads proxy variables, and "" for one that is not known
	}{
		{image: "registry.example/checkout:1"},
		{image: ""},
		{image: "openjdk", want: "Java"},
		{image: "docker.io/library/eclipse-temurin:21-jre@sha256:abc", want: "Java"},
		{image: "bitnami/kafka:3", want: "Java"},
		{image: "registry.example/javascript-app:1"},
		{image: "registry.example/app:1", program: []string{"/opt/java/bin/java", "-jar", "app.jar"}, want: "Java"},
		{image: "registry.example/app:1", program: []string{"/bin/sh", "-c", "exec java -jar app.jar"}, want: "Java"},
		{image: "registry.example/app:1", program: []string{"./checkout", "java"}},
		{image: "registry.example/app:1", variables: []string{"LOG", "SPRING_PROFILES_ACTIVE"}, want: "Java"},
		{image: "node:18-alpine", want: "Node.js"},
		{image: "node:v20.1", want: "Node.js"},
		{image: "node:22"},
		{image: "node:22.20.1", want: "Node.js"},
		{image: "node:22.21", want: "Node.js reads"},
		{image: "node:23", want: "Node.js"},
		{image: "node:24-slim", want: "Node.js reads"},
		{image: "node:lts"},
		{image: "registry.example:5000/node:99999999999999999999"},
		{image: "registry.example/app:18", program: []string{"node", "app.js"}},
		{image: "registry.example/node-exporter:1"},
		{image: "registry.example/kafka-exporter:1"},
		{image: "gcr.io/distroless/java17-debian12", want: "Java"},
		{image: "amazoncorretto:21", want: "Java"},
		{image: "php-fpm:8", want: "PHP reads"},
		{image: "python:3.12", want: "Python reads"},
		{image: "curlimages/curl:8", want: "curl reads"},
		{image: "mcr.microsoft.com/dotnet/aspnet:8.0", want: ".NET reads"},
	} {
		r, known := runtimeOf(transformer.CaptureContainer{Image: test.image, Program: test.program, Variables: test.variables})
		got := ""
		if known {
			got = r.name
			if r.reads {
				got += " reads"
			}
		}
		if got != test.want {
			t.Errorf("image %q, command %q, variables %q: found %q, want %q", test.image, test.program, test.variables, got, test.want)
		}
	}
}
