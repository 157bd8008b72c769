// Command bench compares rendering with the programs that a user would compare it
// with, in one run on one machine, and prints ratios:
//
//	kyaml         reads and writes the same bytes and changes nothing: the least
//	              that any program costs that is built on the same library
//	istioctl      kube-inject, which rewrites the same Deployments for the mesh
//
// The programs take turns, and each figure is the median of its turns. A goal that is
// missed is printed and is not an error: on a busy machine, times mean little.
//
//	usage: bench TAPEDECK
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/tapedeck/tapedeck/e2e/internal/machine"
	"sigs.k8s.io/kustomize/kyaml/kio"
)

const (
	deployments = 1000
	turns       = 7
	// maxRatio is how much rendering may cost, as a multiple of reading and
	// writing with kyaml.
	maxRatio = 2.0
	// maxBend is how much more a document may cost in the upper half of the
	// memory measurement than in the lower before growth isn't linear: the
	// garbage collector lets the heap double between two collections.
	maxBend = 1.5
)

func main() {
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == roundTripArg:
		err = roundTrip()
	case len(os.Args) == 2:
		err = bench(context.Background(), os.Args[1])
	default:
		err = errors.New("usage: bench TAPEDECK")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, tapedeck string) error {
	dir, err := os.MkdirTemp("", "tapedeck-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	kubeInject, err := kubeInject(ctx, dir)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n\n", machine.Describe())
	return errors.Join(
		benchTime(ctx, dir, []program{
			{"kyaml, reading and writing", []string{self, roundTripArg}},
			{"tapedeck render", []string{tapedeck, "render"}},
			{"istioctl kube-inject", kubeInject},
		}),
		benchMemory(ctx, dir, program{"tapedeck render", []string{tapedeck, "render"}}),
	)
}

// program is a program to measure, which reads manifests from standard input.
type program struct {
	name string
	args []string
}

// sample has the measurements of one run.
type sample struct {
	wall time.Duration
	peak int64 // largest resident size, in bytes
}

func (p program) run(ctx context.Context, input string) (sample, error) {
	in, err := os.Open(input)
	if err != nil {
		return sample{}, err
	}
	defer in.Close()
	cmd := exec.CommandContext(ctx, p.args[0], p.args[1:]...)
	cmd.Stdin = in
	cmd.Env = append(os.Environ(), "KUBECONFIG="+os.DevNull)
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return sample{}, fmt.Errorf("run %s: %w", p.name, err)
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return sample{}, fmt.Errorf("run %s: no resource usage on this system", p.name)
	}
	return sample{time.Since(start), usage.Maxrss << 10}, nil
}

// median runs the programs in turn and returns the median of each.
func median(ctx context.Context, input string, programs ...program) ([]sample, error) {
	walls, peaks := make([][]time.Duration, len(programs)), make([][]int64, len(programs))
	for range turns {
		for i, p := range programs {
			s, err := p.run(ctx, input)
			if err != nil {
				return nil, err
			}
			walls[i], peaks[i] = append(walls[i], s.wall), append(peaks[i], s.peak)
		}
	}
	medians := make([]sample, len(programs))
	for i := range programs {
		slices.Sort(walls[i])
		slices.Sort(peaks[i])
		medians[i] = sample{walls[i][turns/2], peaks[i][turns/2]}
	}
	return medians, nil
}

// benchTime compares the programs with the first of them.
func benchTime(ctx context.Context, dir string, programs []program) error {
	input, size, err := writeManifests(dir, deployments)
	if err != nil {
		return err
	}
	medians, err := median(ctx, input, programs...)
	if err != nil {
		return err
	}
	fmt.Printf("%d annotated Deployments with Services, %.1f MiB; median of %d runs\n\n", deployments, mib(size), turns)
	fmt.Printf("  %-28s %8s %8s %10s\n", "", "time", "ratio", "peak")
	base := medians[0]
	for i, p := range programs {
		fmt.Printf("  %-28s %7.2fs %7.2fx %6.0f MiB\n", p.name, medians[i].wall.Seconds(), ratio(medians[i].wall, base.wall), mib(medians[i].peak))
	}
	fmt.Println()
	own, rival := medians[1].wall, medians[2].wall
	if got := ratio(own, base.wall); got > maxRatio {
		fmt.Printf("  not reached: rendering costs %.2fx of reading and writing, want at most %.0fx\n\n", got, maxRatio)
	}
	if own >= rival {
		fmt.Printf("  not reached: rendering takes %.2fx of istioctl kube-inject, want less\n\n", ratio(own, rival))
	}
	return nil
}

// benchMemory prints how much memory a document costs, and whether the next one
// costs the same.
func benchMemory(ctx context.Context, dir string, p program) error {
	fmt.Printf("Peak memory of %s\n\n  %11s %10s %10s %14s\n", p.name, "documents", "input", "peak", "per document")
	var docs, peaks []int64
	for n := deployments; n <= 4*deployments; n *= 2 {
		input, size, err := writeManifests(dir, n)
		if err != nil {
			return err
		}
		medians, err := median(ctx, input, p)
		if err != nil {
			return err
		}
		docs, peaks = append(docs, int64(2*n)), append(peaks, medians[0].peak)
		fmt.Printf("  %11d %6.1f MiB %6.0f MiB %10.1f KiB\n", 2*n, mib(size), mib(medians[0].peak), float64(medians[0].peak)/float64(2*n)/1024)
	}
	lower := float64(peaks[1]-peaks[0]) / float64(docs[1]-docs[0])
	upper := float64(peaks[2]-peaks[1]) / float64(docs[2]-docs[1])
	fmt.Printf("\n  one more document costs %.1f KiB in the lower half, %.1f KiB in the upper\n\n", lower/1024, upper/1024)
	if upper > maxBend*lower {
		fmt.Printf("  not reached: memory isn't linear, a document costs %.2fx more in the upper half\n\n", upper/lower)
	}
	return nil
}

// roundTripArg makes this program run roundTrip.
const roundTripArg = "-round-trip"

// roundTrip reads and writes a stream with kyaml.
func roundTrip() error {
	return kio.Pipeline{
		Inputs:  []kio.Reader{&kio.ByteReader{Reader: os.Stdin, OmitReaderAnnotations: true}},
		Outputs: []kio.Writer{kio.ByteWriter{Writer: os.Stdout}},
	}.Execute()
}

// writeManifests writes n Deployments, each with its Service, and returns the
// file and its size in bytes.
func writeManifests(dir string, n int) (file string, size int64, err error) {
	var text []byte
	for i := range n {
		text = fmt.Appendf(text, manifest, i)
	}
	file = filepath.Join(dir, fmt.Sprintf("manifests-%d.yaml", n))
	return file, int64(len(text)), os.WriteFile(file, text, 0o644)
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }
