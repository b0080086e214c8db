import { setTimeout as sleep } from 'node:timers/promises'

/** The value below which that share of them lies. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}

/** Median and, as others may use the machine too, the spread. */
export function spread(values: readonly number[], digits = 1): string {
  const [middle, least, most] = [percentile(values, 0.5), Math.min(...values), Math.max(...values)]
  return `${middle.toFixed(digits)} (${least.toFixed(digits)}–${most.toFixed(digits)})`
}

/** How often a second `once` ends, with so many of them at a time, for as long as told. */
export async function rate(
  once: () => Promise<void>,
  { parallel, ms }: { parallel: number; ms: number },
): Promise<number> {
  const began = performance.now()
  let count = 0
  const repeat = async () => {
    while (performance.now() - began < ms) {
      await once()
      count += 1
    }
  }
  await Promise.all(Array.from({ length: parallel }, repeat))
  return (count / (performance.now() - began)) * 1000
}

/** Runs `one` again and again, so many at a time, until told to stop. Returns the milliseconds of each. */
export async function repeat(
  one: () => Promise<void>,
  { parallel, until, pauseMs = 0 }: { parallel: number; until: () => boolean; pauseMs?: number },
): Promise<number[]> {
  const times: number[] = []
  const worker = async () => {
    while (!until()) {
      const began = performance.now()
      await one()
      times.push(performance.now() - began)
      if (pauseMs > 0) await sleep(pauseMs)
    }
  }
  await Promise.all(Array.from({ length: parallel }, worker))
  return times
}
