/** Where components say what an operator should know. The library never writes to the console by itself. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** What a log line is about, by name; `error` holds what was thrown. */
export type LogFields = Readonly<Record<string, unknown>>;

/** The default: says nothing. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
