/**
 * What a member of a shared group journals besides the records that it read: `h TIME MEMBER PARTITION FROM TO`, handed out to the
 * application at that moment, as the machine's clock had it (TO not included). Written by `programs/member.ts`. Pure.
 */

/** Records of one partition that a consumer handed to its application at one moment. */
export interface Handout {
  /** ms since 1970. */
  readonly at: number;
  /** The consumer's own id in its group at that moment. */
  readonly memberId: string;
  readonly partition: number;
  readonly from: number;
  readonly to: number;
}

export const memberLine = {
  handedOut: ({ at, from, memberId, partition, to }: Handout): string =>
    `h ${at} ${memberId} ${partition} ${from} ${to}\n`,
} as const;

/** A last line that was cut off is left out. */
export function parseHandouts(text: string): Handout[] {
  const lines = text.split("\n").slice(0, -1);
  return lines
    .filter((line) => line.startsWith("h "))
    .map((line) => {
      const [, at, memberId = "", partition, from, to] = line.split(" ");
      return {
        memberId,
        ...{ at: Number(at), partition: Number(partition), from: Number(from), to: Number(to) },
      };
    });
}
