/** One side after the other, again and again, so that what else the machine does hits all of them. */
export async function inTurns<T>(rounds: number, sides: (() => Promise<T>)[]): Promise<T[][]> {
  const seen: T[][] = sides.map(() => [])
  for (let round = 0; round < rounds; round++)
    for (const [i, side] of sides.entries()) seen[i]!.push(await side())
  return seen
}
