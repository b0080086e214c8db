import type { ReadRow } from './sent-rows.ts'

const nameOf = (address: string) => address.split('@', 1)[0]!.toLowerCase()

/** The names that a row is about: two rows that share one are done one after the other. */
export function namesIn({ address, content }: Pick<ReadRow, 'address' | 'content'>): string[] {
  const { new_address } = content
  return new_address === undefined ? [nameOf(address)] : [nameOf(address), nameOf(new_address)]
}
