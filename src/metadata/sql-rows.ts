/** Column readers for rows of a database: a wrong type is a defect, and is said at once. Used by the rooms `sqlite-*.ts` and `postgres-*.ts`. */

export type SqlRow = Readonly<Record<string, unknown>>;

export function numberOf(row: SqlRow, column: string): number {
  const value = row[column];
  if (typeof value === "number") return value;
  throw new TypeError(`column ${column} holds ${typeof value}, not a number`);
}

export function textOf(row: SqlRow, column: string): string {
  const value = row[column];
  if (typeof value === "string") return value;
  throw new TypeError(`column ${column} holds ${typeof value}, not text`);
}

export function bytesOf(row: SqlRow, column: string): Uint8Array {
  const value = row[column];
  if (value instanceof Uint8Array) return value;
  throw new TypeError(`column ${column} holds ${typeof value}, not bytes`);
}

export function booleanOf(row: SqlRow, column: string): boolean {
  const value = row[column];
  if (typeof value === "boolean") return value;
  throw new TypeError(`column ${column} holds ${typeof value}, not a boolean`);
}
