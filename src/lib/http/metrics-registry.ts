import { Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { messageOf } from '../../kernel/error-message.js';

export interface MetricDescription<Label extends string> {
  /** Prometheus name; ours start with `sendense_` and end with their unit. */
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly Label[];
}

export interface GaugeDescription<Label extends string> extends MetricDescription<Label> {
  /** Measures at each scrape. A throw leaves the gauge without values for that scrape and is counted. */
  readonly collect?: (gauge: Gauge<Label>) => void | Promise<void>;
}

/** The program's Prometheus metrics. Each name is registered once. */
@Injectable()
export class MetricsRegistry implements OnApplicationShutdown {
  private readonly logger = new Logger('Metrics');
  private readonly registry = new Registry();
  private readonly failures: Counter<'metric'>;

  constructor() {
    collectDefaultMetrics({ register: this.registry });
    this.failures = this.counter({ name: 'sendense_metric_collection_failures_total', help: 'Gauges that could not be measured', labels: ['metric'] });
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  /** All metrics in the text format of Prometheus. */
  async text(): Promise<string> {
    return this.registry.metrics();
  }

  counter<Label extends string = never>(description: MetricDescription<Label>): Counter<Label> {
    return new Counter({ name: description.name, help: description.help, labelNames: [...(description.labels ?? [])], registers: [this.registry] });
  }

  gauge<Label extends string = never>(description: GaugeDescription<Label>): Gauge<Label> {
    const { collect } = description;
    const gauge: Gauge<Label> = new Gauge({
      name: description.name,
      help: description.help,
      labelNames: [...(description.labels ?? [])],
      registers: [this.registry],
      ...(collect && { collect: () => this.measure(description, gauge, collect) }),
    });
    return gauge;
  }

  /** `buckets` are upper bounds in the unit of the name. */
  histogram<Label extends string = never>(description: MetricDescription<Label>, buckets: readonly number[]): Histogram<Label> {
    return new Histogram({
      name: description.name,
      help: description.help,
      labelNames: [...(description.labels ?? [])],
      buckets: [...buckets],
      registers: [this.registry],
    });
  }

  onApplicationShutdown(): void {
    this.registry.clear();
  }

  /** A failing gauge must not fail the whole scrape, nor show its last value or a zero that was never measured. */
  private async measure<Label extends string>(
    { name, labels }: GaugeDescription<Label>,
    gauge: Gauge<Label>,
    collect: (gauge: Gauge<Label>) => void | Promise<void>,
  ): Promise<void> {
    gauge.reset();
    try {
      await collect(gauge);
    } catch (error) {
      if (labels === undefined || labels.length === 0) gauge.remove();
      else gauge.reset();
      this.failures.inc({ metric: name });
      this.logger.warn(`${name} could not be measured: ${messageOf(error)}`);
    }
  }
}
