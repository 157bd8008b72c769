package e2e

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/markdown"
)

var updateDocs = flag.Bool("update-docs", false, "write what the commands of the documentation print into its pages")

// TestDocs runs the console blocks of every page, in one session for each page, and compares
// the output of the commands with what the page shows. A session is a bash in an empty directory,
// in a separate network that has only loopback.
//
// CONTRIBUTING.md has the rules for writers.
func TestDocs(t *testing.T) {
	isolate, why := isolation()
	if why != "" {
		t.Skip(why)
	}
	pages, err := markdown.ReadAll(repo)
	if err != nil {
		t.Fatal(err)
	}
	bin := docsPrograms(t)
	ran := 0
	for _, p := range pages {
		if !slices.ContainsFunc(p.Blocks, func(b markdown.Block) bool { return b.Lang == "console" }) {
			continue
		}
		name, err := filepath.Rel(repo, p.File)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.ToSlash(name), func(t *testing.T) {
			s := newSession(t, p)
			if len(s.steps) == 0 {
				t.Skip("every block needs a program that this machine lacks")
			}
			bin.need(t, s)
			s.run(isolate, bin.path())
			s.compare()
			ran++
		})
	}
	if ran == 0 && flag.Lookup("test.run").Value.String() == "" {
		t.Error("ran no page")
	}
}

// optional are the programs that the tests can't build; a block that calls one that is not
// there is not run.
var optional = []string{"kubectl", "kpt", "curl", "jq"}

// step is a command of a session.
type step struct {
	block   int
	example markdown.Example
	// shown means that the page shows the command.
	shown bool
	// files are written before the command runs.
	files map[string]string
}

type session struct {
	t     *testing.T
	page  *markdown.Page
	steps []step
	// ctl has the commands and their output; dir is where they run.
	ctl, dir string
}

func newSession(t *testing.T, p *markdown.Page) *session {
	t.Helper()
	s := &session{t: t, page: p, ctl: t.TempDir(), dir: filepath.Join(t.TempDir(), "page")}
	files := map[string]string{}
	add := func(st step) {
		st.files, files = files, map[string]string{}
		s.steps = append(s.steps, st)
	}
	for i, b := range p.Blocks {
		if name := b.FileName(); name != "" {
			files[name] = strings.Join(b.Lines[1:], "\n") + "\n"
			continue
		}
		switch b.Lang {
		case markdown.Setup:
			if strings.Contains(b.Text(), "$REPO/e2e/testdata/") { // the application there
				needPath(t, "python3")
				needPath(t, "curl")
			}
			add(step{block: i, example: markdown.Example{Line: b.Line, Command: b.Text()}})
		case "console":
			examples, err := b.Examples()
			if err != nil {
				t.Fatalf("%s:%v", p.File, err)
			}
			if program := lacks(examples); program != "" {
				t.Logf("%s: %s is not on the PATH, so the block is not run", p.Where(b.Line), program)
				continue
			}
			for _, e := range examples {
				add(step{block: i, example: e, shown: true})
			}
		}
	}
	return s
}

func lacks(examples []markdown.Example) string {
	for _, e := range examples {
		for _, words := range markdown.Commands(e.Command) {
			if !slices.Contains(optional, words[0]) {
				continue
			}
			if _, err := exec.LookPath(words[0]); err != nil {
				return words[0]
			}
		}
	}
	return ""
}

// run runs the steps. Each is sourced, so that all of them share one shell; $? is the former
// step's.
func (s *session) run(isolate []string, path string) {
	s.t.Helper()
	var script strings.Builder
	script.WriteString("ip link set lo up || exit 99\ncd " + s.dir + "\n")
	for i, st := range s.steps {
		at := fmt.Sprintf("%s/%d", s.ctl, i)
		write(s.t, s.ctl, map[string]string{fmt.Sprint(i): st.example.Command + "\n"})
		script.WriteString("__status=$?\n")
		for name, text := range st.files {
			write(s.t, filepath.Join(s.ctl, fmt.Sprintf("%d.files", i)), map[string]string{name: text})
			fmt.Fprintf(&script, "mkdir -p \"$(dirname '%s')\" && cp '%s.files/%s' '%s'\n", name, at, name, name)
		}
		fmt.Fprintf(&script, "(exit $__status)\n. %s >%s.out 2>&1 </dev/null\n__status=$?; echo $__status >%s.code; (exit $__status)\n", at, at, at)
	}
	script.WriteString("exit 0\n")
	write(s.t, s.ctl, map[string]string{"script": script.String()})
	home := s.t.TempDir()
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	repository, err := filepath.Abs(repo)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Minute)
	defer cancel()
	args := append(slices.Clone(isolate[1:]), "bash", filepath.Join(s.ctl, "script"))
	cmd := exec.CommandContext(ctx, isolate[0], args...)
	cmd.Dir = s.dir
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = []string{"PATH=" + path, "HOME=" + home, "TMPDIR=" + home, "LANG=C.UTF-8", "TZ=UTC", "TERM=dumb", "NO_COLOR=1", "REPO=" + repository}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		at := ""
		for i, st := range s.steps {
			if _, err := os.Stat(fmt.Sprintf("%s/%d.code", s.ctl, i)); err != nil {
				at = fmt.Sprintf(" in %s: %s", s.page.Where(st.example.Line), st.example.Command)
				break
			}
		}
		s.t.Fatalf("the session ended%s: %v %v\n%s", at, err, ctx.Err(), out.Bytes())
	}
}

// compare compares the output of each step with the page, or writes it there.
func (s *session) compare() {
	s.t.Helper()
	texts := make([][]string, len(s.page.Blocks))
	changed := false
	for i, st := range s.steps {
		where := s.page.Where(st.example.Line)
		out := strings.ReplaceAll(string(read(s.t, fmt.Sprintf("%s/%d.out", s.ctl, i))), "\r", "")
		got := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
		code := strings.TrimSpace(string(read(s.t, fmt.Sprintf("%s/%d.code", s.ctl, i))))
		asked := i+1 < len(s.steps) && s.steps[i+1].example.Command == "echo $?"
		if code != "0" && !asked {
			s.t.Errorf("%s: exit code %s of\n%s\nwhich printed:\n%s\nan example that is to fail has the command echo $? next", where, code, st.example.Command, out)
		}
		if !st.shown {
			continue
		}
		want := st.example.Want
		if ok, at := st.example.Matches(got); !ok {
			if !*updateDocs {
				line := "there is more output"
				if at < len(want) {
					line = fmt.Sprintf("line %q is not there", want[at])
				}
				s.t.Errorf("%s: %s\nprints other than what the page shows: %s; `go test -run TestDocs . -update-docs` writes the page\nthe page shows:\n%s\nthe command prints:\n%s",
					where, st.example.Command, line, strings.Join(want, "\n"), strings.Join(got, "\n"))
				continue
			}
			changed = true
			want = st.example.Merge(got)
			if len(want) == 1 && want[0] == "" {
				want = nil
			}
			if last := len(st.example.Want) - 1; last >= 0 && st.example.Want[last] == "" {
				want = append(want, "")
			}
		}
		texts[st.block] = append(texts[st.block], strings.Split("$ "+st.example.Command, "\n")...)
		texts[st.block] = append(texts[st.block], want...)
	}
	if changed {
		if err := s.page.Write(texts); err != nil {
			s.t.Fatal(err)
		}
	}
}

// isolation returns the command that runs another one with its own network and process IDs, or the
// reason why that is impossible.
func isolation() (command []string, why string) {
	var said []string
	for _, flags := range [][]string{{}, {"--map-root-user"}} {
		command := append([]string{"unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"}, flags...)
		out, err := exec.Command(command[0], append(command[1:], "ip", "link", "set", "lo", "up")...).CombinedOutput()
		if err == nil {
			return command, ""
		}
		if errors.Is(err, exec.ErrNotFound) {
			return nil, "unshare is not on the PATH"
		}
		said = append(said, strings.TrimSpace(string(out)))
	}
	return nil, "this machine allows no network namespace: " + strings.Join(said, "; ")
}

// programs is a directory with the programs that the documentation calls.
type programs struct{ dir string }

func docsPrograms(t *testing.T) programs {
	t.Helper()
	bin := programs{t.TempDir()}
	bin.link(t, "tapedeck", tapedeck)
	bin.link(t, "tapedeck-proxy", filepath.Join(filepath.Dir(tapedeck), "tapedeck-proxy"))
	return bin
}

// need builds the programs of the tools' table that a session calls. Without a number, helm is
// Helm 4.
func (bin programs) need(t *testing.T, s *session) {
	t.Helper()
	for name, of := range map[string]string{"kustomize": "kustomize", "helm3": "helm3", "helm4": "helm4", "helm": "helm4"} {
		called := slices.ContainsFunc(s.steps, func(st step) bool {
			return slices.ContainsFunc(markdown.Commands(st.example.Command), func(words []string) bool { return slices.Contains(words, name) })
		})
		if _, err := os.Lstat(filepath.Join(bin.dir, name)); called && err != nil {
			bin.link(t, name, tool(t, of))
		}
	}
}

func (bin programs) link(t *testing.T, name, file string) {
	t.Helper()
	if err := os.Symlink(file, filepath.Join(bin.dir, name)); err != nil {
		t.Fatal(err)
	}
}

func (bin programs) path() string {
	return bin.dir + string(filepath.ListSeparator) + os.Getenv("PATH")
}
