/** One figure of a part: two sides measured in turns within one run, or one that has no floor. */
export interface Result {
  measure: string
  floor: string
  /** What is compared, each in the order of the rounds, with its unit. */
  figures: { of: string; unit: string; rounds: number[] }[]
  /** One for each round; of those the median counts. Without a floor: the figure itself. */
  ratios: number[]
  unit?: string
  goal: { atLeast: number } | { atMost: number }
  /** What else whoever reads it has to know. */
  note?: string
}

export interface Context {
  /** 1 = the sizes and times of a real run; less for trying whether it works at all. */
  scale: number
  /** How often each side has its turn: enough that one bad moment of the machine does not count. */
  rounds: number
  /** A folder for the part alone, removed after it. */
  folder: string
}

export interface Part {
  name: string
  run(context: Context): Promise<Result[]>
}

interface Comparison {
  measure: string
  floor: string
  unit: string
  /** What is measured and what it is measured against, each with its name and its rounds. */
  sides: [one: [of: string, rounds: number[]], other: [of: string, rounds: number[]]]
  goal: Result['goal']
  note?: string
}

/** The first side as a share of the second, round by round. */
export function compare({ unit, sides, ...said }: Comparison): Result {
  const [[, one], [, other]] = sides
  return {
    ...said,
    figures: sides.map(([of, rounds]) => ({ of, unit, rounds })),
    ratios: one.map((value, i) => value / other[i]!),
  }
}
