// Command shop is every service of the demo shop, and its customers: one static binary, told by environment variables
// what to be.
//
//	ROLE           name it reports; "traffic" sends requests instead of answering them
//	DOWNSTREAM     URLs it calls for each request, separated by commas
//	MEMORY_MIB     memory it holds
//	WARM_SECONDS   how long it takes to fill that memory, after it is ready: 0 is at once
//	CPU_MICROS     processor time it burns for each request
//	RATE           requests a second that "traffic" sends in the middle of the day
//	START_SECONDS  how long it takes to start
//
// POST /leak?mib_per_minute=60 makes it lose memory from now on: a fault that no manifest shows.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"math"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	lock sync.Mutex
	held [][]byte
	rate atomic.Int64 // KiB leaked a second
	// A new connection for each call: kube-proxy shares out connections, not requests.
	client = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
)

func number(name string, otherwise float64) float64 {
	if value, err := strconv.ParseFloat(os.Getenv(name), 64); err == nil {
		return value
	}
	return otherwise
}

// hold takes memory outside Go's heap: on it, garbage collection would wait until the heap has doubled.
func hold(kib int) {
	if kib <= 0 {
		return
	}
	block, err := syscall.Mmap(-1, 0, kib<<10, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		log.Fatalf("no more memory: %v", err)
	}
	for i := 0; i < len(block); i += 4096 {
		block[i] = 1 // touched, or the kernel would not count it
	}
	lock.Lock()
	held = append(held, block)
	lock.Unlock()
}

// warm fills memory as a cache does: a step a second while requests are answered already.
func warm(kib int, seconds float64) {
	steps := int(seconds)
	if steps < 1 {
		hold(kib)
		return
	}
	go func() {
		for range steps {
			hold(kib / steps)
			time.Sleep(time.Second)
		}
	}()
}

func leak() {
	for range time.Tick(time.Second) {
		if kib := rate.Load(); kib > 0 {
			hold(int(kib))
		}
	}
}

func burn(micros float64) {
	end := time.Now().Add(time.Duration(micros) * time.Microsecond)
	for x := 1.0; time.Now().Before(end); {
		x = math.Sqrt(x + 1)
	}
}

func call(url string) error {
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

func downstream() []string {
	return strings.FieldsFunc(os.Getenv("DOWNSTREAM"), func(r rune) bool { return r == ',' })
}

// shape is the share of the peak traffic at a moment: quiet nights, quieter weekends.
func shape(at time.Time) float64 {
	hour := float64(at.UTC().Hour()) + float64(at.UTC().Minute())/60
	day := 0.55 - 0.45*math.Cos(2*math.Pi*(hour-2)/24)
	if weekday := at.UTC().Weekday(); weekday == time.Saturday || weekday == time.Sunday {
		day *= 0.9
	}
	return day
}

func traffic(ctx context.Context) {
	peak := number("RATE", 10)
	for ctx.Err() == nil {
		for _, url := range downstream() {
			if err := call(url); err != nil {
				log.Printf("customer left: %v", err)
			}
		}
		time.Sleep(time.Duration(float64(time.Second) / (peak * shape(time.Now()))))
	}
}

func serve(ctx context.Context) error {
	micros := number("CPU_MICROS", 200)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("POST /leak", func(w http.ResponseWriter, r *http.Request) {
		mib, err := strconv.ParseFloat(r.URL.Query().Get("mib_per_minute"), 64)
		if err != nil {
			http.Error(w, "say how much: /leak?mib_per_minute=60", http.StatusBadRequest)
			return
		}
		rate.Store(int64(mib * 1024 / 60))
		fmt.Fprintf(w, "leaking %g MiB a minute\n", mib)
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		burn(micros)
		for _, url := range downstream() {
			if err := call(url); err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
		}
		fmt.Fprintln(w, os.Getenv("ROLE"))
	})
	server := &http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	return server.ListenAndServe()
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	debug.SetGCPercent(20) // a small heap that soon stops growing
	time.Sleep(time.Duration(number("START_SECONDS", 0) * float64(time.Second)))
	warm(int(number("MEMORY_MIB", 8)*1024), number("WARM_SECONDS", 0))
	go leak()
	if os.Getenv("ROLE") == "traffic" {
		traffic(ctx)
		return
	}
	if err := serve(ctx); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}
