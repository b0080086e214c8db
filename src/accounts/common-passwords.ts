/** Whether a text in lower case is one of the passwords that guessers try first. */
export type IsCommon = (text: string) => boolean

let list: Promise<ReadonlySet<string>> | undefined

/** Loaded when the first chosen password is judged: where all are generated it costs neither start nor memory. */
export async function loadCommonPasswords(): Promise<IsCommon> {
  list ??= import('@zxcvbn-ts/language-common').then(
    ({ dictionary }) => new Set(dictionary['passwords-common']),
  )
  const common = await list
  return (text) => common.has(text)
}
