/** How much is measured: two sizes of the same runs. Read by every room of the bench. */

export interface BenchSettings {
  readonly quick: boolean;
  /** Rounds that count; every contender has one in each. */
  readonly rounds: number;
  /** Rounds before those that are thrown away. */
  readonly warmUpRounds: number;
  /** Bytes of a record's value. */
  readonly valueBytes: number;
  /** Records that one round encodes, decodes, produces or consumes. */
  readonly recordsPerRound: number;
  /** Records of a round in which each has a call and a promise of its own. */
  readonly sendsPerRound: number;
  /** Records that the memory figure consumes. */
  readonly memoryRecords: number;
  /** Bytes that one round of the raw limits moves. */
  readonly rawBytesPerRound: number;
  readonly partitions: number;
  readonly telemetry: TelemetrySettings;
  /** How long an idle agent is watched in a round. */
  readonly idleSeconds: number;
  readonly scale: ScaleSettings;
  readonly peers: PeerSettings;
}

/** Sizes of the figures that are only measured beside other systems. */
export interface PeerSettings {
  /** Records of a round in which everything is compared: the slowest system has to send them too. */
  readonly recordsPerRound: number;
  /** Sends of a round that are awaited one by one. */
  readonly singleSends: number;
  /** How long records arrive at a fixed rate. */
  readonly latencySeconds: number;
}

/** Sizes of the figures about many agents. */
export interface ScaleSettings {
  readonly rounds: number;
  /** How long records are sent as fast as they are acknowledged. */
  readonly pourSeconds: number;
  /** How long nothing is sent. */
  readonly idleSeconds: number;
  /** How long requests to the bucket are counted. */
  readonly costSeconds: number;
  readonly costIntervalsMs: readonly number[];
}

/** Sizes of the figures about telemetry. */
export interface TelemetrySettings {
  /** Pairs of turns for each ratio; a ratio says something from ten on. */
  readonly pairs: number;
  /** Batches of one record before the first pair: makes the runtime compile what is done for a batch. */
  readonly warmUpBatches: number;
  /** Records of a turn with `sendBatch`, and again when they are read. */
  readonly pairRecords: number;
  /** Records of a turn with a promise for each. */
  readonly pairSends: number;
  readonly recordings: number;
  readonly callsPerRecording: number;
  readonly scrapes: number;
}

const common = { valueBytes: 100, partitions: 4 } as const;

/** The whole thing: some ten minutes. */
export const fullSettings: BenchSettings = {
  ...common,
  quick: false,
  rounds: 9,
  warmUpRounds: 2,
  recordsPerRound: 1_000_000,
  sendsPerRound: 300_000,
  memoryRecords: 10_000_000,
  rawBytesPerRound: 536_870_912,
  idleSeconds: 20,
  telemetry: {
    pairs: 30,
    warmUpBatches: 2_000,
    pairRecords: 50_000,
    pairSends: 30_000,
    recordings: 15,
    callsPerRecording: 5_000_000,
    scrapes: 25,
  },
  scale: {
    rounds: 3,
    pourSeconds: 10,
    idleSeconds: 20,
    costSeconds: 30,
    costIntervalsMs: [50, 100, 200, 500, 1_000],
  },
  peers: { recordsPerRound: 200_000, singleSends: 500, latencySeconds: 10 },
};

/** `--quick`: under three minutes on two cores. */
export const quickSettings: BenchSettings = {
  ...common,
  quick: true,
  rounds: 7,
  warmUpRounds: 1,
  recordsPerRound: 400_000,
  sendsPerRound: 100_000,
  memoryRecords: 1_000_000,
  rawBytesPerRound: 268_435_456,
  idleSeconds: 5,
  telemetry: {
    pairs: 3,
    warmUpBatches: 200,
    pairRecords: 10_000,
    pairSends: 4_000,
    recordings: 3,
    callsPerRecording: 1_000_000,
    scrapes: 3,
  },
  scale: { rounds: 1, pourSeconds: 3, idleSeconds: 5, costSeconds: 5, costIntervalsMs: [200] },
  peers: { recordsPerRound: 50_000, singleSends: 100, latencySeconds: 3 },
};

/** The same sizes for all systems, small enough for the slowest. */
export function besidePeers(settings: BenchSettings): BenchSettings {
  return {
    ...settings,
    rounds: Math.min(settings.rounds, 7),
    recordsPerRound: settings.peers.recordsPerRound,
    sendsPerRound: Math.min(settings.sendsPerRound, settings.peers.recordsPerRound),
  };
}
