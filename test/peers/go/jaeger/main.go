// A real Jaeger for the tests of test/peers: its own collector (OTLP in), memory store and query service (/api/traces), put
// together as its all-in-one is. It leaves out what the tests have no use for and what takes most of the time to compile: the
// clients of Cassandra, Elasticsearch, Kafka and Badger, adaptive sampling, the old agent. It takes all-in-one's flags. It never
// runs in StreamHouse itself; test/peers/backends.ts starts it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	collector "github.com/jaegertracing/jaeger/cmd/collector/app"
	collectorflags "github.com/jaegertracing/jaeger/cmd/collector/app/flags"
	query "github.com/jaegertracing/jaeger/cmd/query/app"
	"github.com/jaegertracing/jaeger/cmd/query/app/querysvc"
	"github.com/jaegertracing/jaeger/pkg/config"
	"github.com/jaegertracing/jaeger/pkg/healthcheck"
	"github.com/jaegertracing/jaeger/pkg/metrics"
	"github.com/jaegertracing/jaeger/pkg/telemetery"
	"github.com/jaegertracing/jaeger/pkg/tenancy"
	"github.com/jaegertracing/jaeger/plugin/metrics/disabled"
	"github.com/jaegertracing/jaeger/plugin/storage/memory"
	"github.com/jaegertracing/jaeger/proto-gen/api_v2"
	"github.com/spf13/cobra"
	"github.com/spf13/viper"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
)

// Every service samples everything: the tests' processes ask OTEL_TRACES_SAMPLER, not Jaeger.
type sampleAll struct{}

func (sampleAll) GetSamplingStrategy(context.Context, string) (*api_v2.SamplingStrategyResponse, error) {
	return &api_v2.SamplingStrategyResponse{
		StrategyType:          api_v2.SamplingStrategyType_PROBABILISTIC,
		ProbabilisticSampling: &api_v2.ProbabilisticSamplingStrategy{SamplingRate: 1},
	}, nil
}

func (sampleAll) Close() error { return nil }

func run(v *viper.Viper, logger *zap.Logger) error {
	factory := memory.NewFactory()
	factory.InitFromViper(v, logger)
	if err := factory.Initialize(metrics.NullFactory, logger); err != nil {
		return fmt.Errorf("memory store: %w", err)
	}
	writer, err := factory.CreateSpanWriter()
	if err != nil {
		return fmt.Errorf("span writer: %w", err)
	}
	reader, err := factory.CreateSpanReader()
	if err != nil {
		return fmt.Errorf("span reader: %w", err)
	}
	dependencies, err := factory.CreateDependencyReader()
	if err != nil {
		return fmt.Errorf("dependency reader: %w", err)
	}
	collectorOptions, err := new(collectorflags.CollectorOptions).InitFromViper(v, logger)
	if err != nil {
		return fmt.Errorf("collector options: %w", err)
	}
	queryOptions, err := new(query.QueryOptions).InitFromViper(v, logger)
	if err != nil {
		return fmt.Errorf("query options: %w", err)
	}
	health := healthcheck.New()
	tenants := tenancy.NewManager(&collectorOptions.GRPC.Tenancy)

	in := collector.New(&collector.CollectorParams{
		ServiceName:      "jaeger-collector",
		Logger:           logger,
		MetricsFactory:   metrics.NullFactory,
		SpanWriter:       writer,
		SamplingProvider: sampleAll{},
		HealthCheck:      health,
		TenancyMgr:       tenants,
	})
	if err := in.Start(collectorOptions); err != nil {
		return fmt.Errorf("collector: %w", err)
	}
	defer in.Close()

	noMetrics, err := disabled.NewMetricsReader()
	if err != nil {
		return fmt.Errorf("metrics reader: %w", err)
	}
	out, err := query.NewServer(
		querysvc.NewQueryService(reader, dependencies, querysvc.QueryServiceOptions{}),
		noMetrics,
		queryOptions,
		tenants,
		telemetery.Setting{
			Logger:         logger,
			TracerProvider: noop.NewTracerProvider(),
			Metrics:        metrics.NullFactory,
			ReportStatus:   telemetery.HCAdapter(health),
		},
	)
	if err != nil {
		return fmt.Errorf("query service: %w", err)
	}
	if err := out.Start(); err != nil {
		return fmt.Errorf("query service: %w", err)
	}
	defer out.Close()

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	<-signals
	return nil
}

// The program ends with its standard input: it cannot outlive the test that started it, however that test ends.
func endWithStdin() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func main() {
	go endWithStdin()
	logger, err := zap.NewProduction()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	v := viper.New()
	command := &cobra.Command{
		Use:           "jaeger",
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(*cobra.Command, []string) error { return run(v, logger) },
	}
	config.AddFlags(v, command, collectorflags.AddFlags, query.AddFlags, func(set *flag.FlagSet) {
		memory.AddFlags(set)
	})
	if err := command.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
