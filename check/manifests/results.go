package manifests

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/check"
	"github.com/tapedeck/tapedeck/transformer"
)

// about is the finding for a result of a render. The table results has a row for each code.
type about struct {
	area  string
	state check.State
	fix   string // replaces the reason's help
	// advice is the beginning of the message's own advice, which becomes the fix unless the row has
	// one; "" if the message has no advice.
	advice string
}

// said has the codes of results that other findings cover, or that don't affect what is captured.
// Errors with these codes still become findings.
var said = map[transformer.Code]bool{
	transformer.CodeInjected:           true,
	transformer.CodeUndone:             true,
	transformer.CodeUninjected:         true,
	transformer.CodeDeleted:            true,
	transformer.CodeNotRequested:       true,
	transformer.CodeNoPods:             true,
	transformer.CodePortNotServed:      true,
	transformer.CodePortsUnclear:       true,
	transformer.CodePortsNotCaptured:   true,
	transformer.CodeVirtualServiceDone: true,
	transformer.CodeRouteMended:        true,
	transformer.CodeRouteNeedless:      true,
	transformer.CodeServicePatched:     true,
	transformer.CodeServiceHeadless:    true,
	transformer.CodePortFollowed:       true,
	transformer.CodeProxyChained:       true,
	transformer.CodeNoProxyKept:        true,
	transformer.CodeNoProxyWide:        true,
	transformer.CodeProxyApart:         true,
	transformer.CodeLimitsGiven:        true,
	transformer.CodeJavaNoProxy:        true,
	transformer.CodeHostsInferred:      true,
	transformer.CodeHostsInit:          true,
	transformer.CodeHostsSysctl:        true,
	transformer.CodeCASecret:           true,
	transformer.CodeSinkPolicy:         true,
	transformer.CodeReformatted:        true,

	transformer.CodeHeld:              true,
	transformer.CodeReplayPolicy:      true,
	transformer.CodeReplayLocal:       true,
	transformer.CodeReplayPassthrough: true,
	transformer.CodeReplayAccount:     true,
	transformer.CodeReplayMesh:        true,
	transformer.CodeReplayHosts:       true,
	transformer.CodeReplayAPI:         true,
	transformer.CodeReplayProxy:       true,
	transformer.CodeReplayLeftOut:     true,
	transformer.CodeReplayEmptied:     true,
}

// results is the table. An error is always a problem, whatever its row says.
var results = map[transformer.Code]about{
	transformer.CodeNotWritten:  {check.Capture, check.Unknown, "fix the errors of the other objects", ""},
	transformer.CodeIgnored:     {check.Capture, check.LeftOut, "", ""},
	transformer.CodeLocalConfig: {check.Capture, check.LeftOut, "remove config.kubernetes.io/local-config to have the object applied and captured", ""},

	transformer.CodeTransparent:      {check.Capture, check.Problem, "", ""},
	transformer.CodeHostNetwork:      {check.Capture, check.Problem, "", ""},
	transformer.CodeWindows:          {check.Capture, check.Problem, "", ""},
	transformer.CodeLinkerd:          {check.Capture, check.Problem, "", ""},
	transformer.CodeOtherSidecar:     {check.Capture, check.Problem, "", ""},
	transformer.CodeNoTemplate:       {check.Capture, check.Problem, "", ""},
	transformer.CodeNotInMesh:        {check.Capture, check.Problem, "", ""},
	transformer.CodeAmbient:          {check.Capture, check.Problem, "", ""},
	transformer.CodePortExcluded:     {check.Capture, check.Problem, "", ""},
	transformer.CodeInterceptionNone: {check.Capture, check.Problem, "", ""},
	transformer.CodeGateway:          {check.Capture, check.Problem, "", ""},
	transformer.CodeMeshItself:       {check.Capture, check.Problem, "", ""},
	transformer.CodeNoInboundPort:    {check.Capture, check.Problem, "", ""},
	transformer.CodeProxyless:        {check.Capture, check.Problem, "", ""},
	transformer.CodeUnsupported:      {check.Capture, check.Problem, "", ""},
	transformer.CodeOwned:            {check.Capture, check.Problem, "", ""},

	transformer.CodeLegacyAnnotation:  {check.Capture, check.OK, "", ""},
	transformer.CodeUnknownAnnotation: {check.Capture, check.Partly, "", ""},
	transformer.CodeUnknownField:      {check.Mesh, check.Unknown, "", ""},
	transformer.CodeNoMeaning:         {check.Capture, check.Partly, "remove it", ""},
	transformer.CodeNeedless:          {check.Capture, check.Partly, "", ""},
	transformer.CodeMemoryLimit:       {check.Losses, check.Partly, "", ""},
	transformer.CodePodResources:      {check.Capture, check.Problem, "", ""},
	transformer.CodeQuota:             {check.Capture, check.Problem, "", ""},
	transformer.CodeLimitRange:        {check.Capture, check.Problem, "", ""},
	transformer.CodeQoS:               {check.Capture, check.Unknown, "", ""},
	transformer.CodeAverage:           {check.Capture, check.Unknown, "", ""},
	transformer.CodeMountNested:       {check.Capture, check.Unknown, "", ""},
	transformer.CodeScrapeKept:        {check.Capture, check.Unknown, "", ""},
	transformer.CodeNameHashed:        {check.Capture, check.Problem, "", ""},
	transformer.CodeUndoPath:          {check.Capture, check.Unknown, "", ""},
	transformer.CodeUndoEdited:        {check.Capture, check.Unknown, "", ""},
	transformer.CodeUndoChanged:       {check.Capture, check.Unknown, "", ""},

	transformer.CodeNoService:       {check.Inbound, check.Unknown, "", ". Render the Service"},
	transformer.CodeOutboundOnly:    {check.Inbound, check.LeftOut, "", ". If the workload serves a port"},
	transformer.CodeSidecarConflict: {check.Inbound, check.Problem, "", "; remove "},
	transformer.CodeServiceShared:   {check.Inbound, check.Problem, "", ""},
	transformer.CodePolicyShared:    {check.Inbound, check.Problem, "", ""},
	transformer.CodePortReserved:    {check.Inbound, check.Problem, "", ""},
	transformer.CodePortClash:       {check.Inbound, check.Problem, "", ""},

	transformer.CodeEnvFrom:       {check.Outbound, check.Unknown, "", ""},
	transformer.CodeSocks:         {check.Outbound, check.Partly, "", ""},
	transformer.CodeEnvKept:       {check.Outbound, check.Partly, "", ""},
	transformer.CodeJavaKept:      {check.Outbound, check.Partly, "", "; remove its flags"},
	transformer.CodeHostsLeft:     {check.Outbound, check.LeftOut, "name them in " + captureHosts + " to have them captured anyway", ""},
	transformer.CodeHostsNone:     {check.Outbound, check.Partly, "", ""},
	transformer.CodeHostsMounted:  {check.Outbound, check.Partly, "", ""},
	transformer.CodeHostAlias:     {check.Outbound, check.Unknown, "", ""},
	transformer.CodeHostPods:      {check.Outbound, check.LeftOut, "", ""},
	transformer.CodeHostPorts:     {check.Outbound, check.Partly, "", ""},
	transformer.CodeHostProbe:     {check.Outbound, check.Unknown, "", ""},
	transformer.CodeHostReconnect: {check.Outbound, check.Unknown, "", ""},
	transformer.CodeHostPort:      {check.Outbound, check.Problem, "", ""},
	transformer.CodeHostOwnPod:    {check.Outbound, check.Problem, "", ""},
	transformer.CodeHostSink:      {check.Outbound, check.Problem, "", ""},
	transformer.CodeProxyConflict: {check.Outbound, check.Problem, "", ""},

	transformer.CodeTrustKept:     {check.TLS, check.Partly, "", ""},
	transformer.CodeRedactKey:     {check.Filters, check.Unknown, "", ""},
	transformer.CodeSinkToken:     {check.Sink, check.Partly, "", ""},
	transformer.CodeSinkPlainHTTP: {check.Sink, check.Problem, "", ""},

	transformer.CodeEgress:             {check.Mesh, check.Unknown, "check the namespace's Sidecar together with the workload, or set the option egress or outboundTrafficPolicy", "; if the namespace"},
	transformer.CodeEgressClosed:       {check.Mesh, check.Partly, "", ""},
	transformer.CodeEgressPolicy:       {check.Mesh, check.Partly, "", "; allow "},
	transformer.CodeSidecarPatched:     {check.Mesh, check.Unknown, "", ""},
	transformer.CodeVirtualServiceHost: {check.Mesh, check.Unknown, "", ""},
	transformer.CodeRouteParent:        {check.Mesh, check.Unknown, "", ""},
	transformer.CodeServiceEntryKept:   {check.Mesh, check.Partly, "", ""},
	transformer.CodePortNotFollowed:    {check.Mesh, check.Unknown, "", ""},
	transformer.CodePortExposed:        {check.Mesh, check.Unknown, "", ""},
	transformer.CodeEnvoyFilter:        {check.Mesh, check.Partly, "change the EnvoyFilter", ""},

	transformer.CodeInvalidYAML:    {check.Input, check.Problem, "fix it there; nothing else is checked until it can be read", ""},
	transformer.CodeInvalidConfig:  {check.Input, check.Problem, "", ""},
	transformer.CodeNotManifest:    {check.Input, check.LeftOut, "name only manifests; render a chart with helm template, and a kustomization with -k", ""},
	transformer.CodeConfigDocument: {check.Input, check.Unknown, "", ""},
	transformer.CodeHelmHooks:      {check.Input, check.Unknown, "", ""},

	transformer.CodeReplayRendered: {check.Replay, check.OK, "", ""},
	transformer.CodeReplayIgnored:  {check.Replay, check.LeftOut, "remove the annotation that excludes it", ""},
}

// findings returns the finding for a result, or none.
func findings(subject string, r transformer.Result) []check.Finding {
	code := r.Code()
	reason := transformer.Reasons()[code]
	row, known := results[code]
	switch {
	case r.Severity == transformer.Error:
		if !known {
			row.area = areaOf(code)
		}
		row.state = check.Problem
	case said[code]:
		return nil
	case !known: // replays, and warnings that this table does not list yet
		row = about{area: areaOf(code), state: check.Unknown}
	case reason.Skip && r.Severity == transformer.Info: // of an owner that is in the input
		row.state = check.LeftOut
	}
	f := check.Finding{Subject: subject, Area: row.area, State: row.state, Found: r.Message, Fix: row.fix, Code: string(code)}
	if reason.Skip && code != transformer.CodeUnsupported {
		f.Found = "not captured: " + clause(reason.Sentence)
		if r.Field != nil && r.Field.CurrentValue != "" {
			f.Found += " (" + r.Field.Path + ": " + r.Field.CurrentValue + ")"
		}
	}
	help, otherwise := fixOf(reason.Help)
	if found, allowed, ok := cutAllowed(f.Found); ok {
		f.Found = found
		if help == "" || strings.Contains(help, " here") { // the help refers to the part that was cut off
			help = at(r) + "allowed: " + allowed
		}
	}
	if found, advice, ok := strings.Cut(f.Found, row.advice); ok && row.advice != "" {
		f.Found, help = found, clause(strings.TrimLeft(row.advice, ";. ")+advice)
	}
	f.Fix = cmp.Or(f.Fix, help, otherwise)
	if f.Fix == "" && f.State != check.OK {
		f.Fix = at(r) + "change what is named here; see tapedeck explain " + f.Code
	}
	return []check.Finding{f}
}

// fixOf makes a fix from the help of a reason. The help was written for a report and refers to a
// result; a finding already shows the result's message. So fixOf drops sentences about the result.
// If no other sentence remains, otherwise is the fix that replaces them.
func fixOf(help string) (fix, otherwise string) {
	var kept []string
	for sentence := range strings.SplitSeq(strings.TrimSuffix(help, "."), ". ") {
		if about, ok := strings.CutPrefix(sentence, "The result "); ok {
			otherwise = cmp.Or(otherwise, aboutResults[about])
			continue
		}
		kept = append(kept, here.Replace(sentence))
	}
	return clause(strings.Join(kept, ". ")), otherwise
}

// aboutResults has the fixes for help that only says what the result shows.
var aboutResults = map[string]string{
	"gives the line":   "correct that line",
	"gives the reason": "change it as described here",
	"names both":       "remove one of the two",
	"names the field":  "change the field that is named here",
	"names the labels": "change the labels that are named here",
	"says what was found and what is allowed": "change it as described here",
}

// here turns phrases about the result into phrases about the finding.
var here = strings.NewReplacer("Follow the advice in the result: add", "Add", "what the result lists", "what is listed here", "that the result lists", "listed here",
	"that the result names", "named here", "that the result gives", "given here", "in the result", "named here")

// names keep their capital in the middle of a sentence.
var names = []string{"Envoy", "Helm", "Istio", "Java", "Knative", "Kubernetes", "Linkerd", "Tapedeck"}

// clause turns a sentence into a clause that can follow a colon or an arrow.
func clause(sentence string) string {
	sentence = strings.TrimSuffix(sentence, ".")
	if word, _, _ := strings.Cut(sentence, " "); slices.Contains(names, strings.TrimSuffix(word, "'s")) {
		return sentence
	}
	first, rest := utf8.DecodeRuneInString(sentence)
	if next, _ := utf8.DecodeRuneInString(sentence[rest:]); unicode.IsUpper(first) && !unicode.IsUpper(next) {
		return string(unicode.ToLower(first)) + sentence[rest:]
	}
	return sentence
}

// at returns the path of a result's field and a colon, to write before a text; "" if it has none.
func at(r transformer.Result) string {
	if r.Field == nil || r.Field.Path == "" {
		return ""
	}
	return r.Field.Path + ": "
}

// cutAllowed splits a message before the part that says what is allowed.
func cutAllowed(message string) (before, allowed string, ok bool) {
	for _, mark := range []string{"; allowed: ", ", allowed: "} {
		if before, allowed, ok = strings.Cut(message, mark); ok {
			return before, allowed, true
		}
	}
	return message, "", false
}

// areaOf returns the area of a result that has no row.
func areaOf(code transformer.Code) string {
	if strings.HasPrefix(string(code), "replay-") || strings.HasPrefix(string(code), "snapshot-") {
		return check.Replay
	}
	return check.Capture
}
