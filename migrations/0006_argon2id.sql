-- New Argon2id verifiers have other parameters, and so has the decoy of a name that has none. All else is as it was:
-- a name that has a verifier still gets a decoy with the parameters of its own.
create or replace function mail.decoy(name text, kind text, actual text, scram_iterations integer) returns text
  language plpgsql stable security definer set search_path = ''
as $$
#variable_conflict use_variable
declare
  salt bytea;
  first_key bytea;
  second_key bytea;
begin
  select
    -- RFC 2104 §2: H(K XOR opad, H(K XOR ipad, text))
    substr(sha256(k.outer_key || sha256(k.inner_key || convert_to('salt ' || kind || ' ' || name, 'UTF8'))), 1, 16),
    sha256(k.outer_key || sha256(k.inner_key || convert_to('first ' || kind || ' ' || name, 'UTF8'))),
    sha256(k.outer_key || sha256(k.inner_key || convert_to('second ' || kind || ' ' || name, 'UTF8')))
  into salt, first_key, second_key
  from mail.decoy_key as k;
  if kind = 'CRAM-MD5' then
    return encode(first_key, 'hex');
  end if;
  if kind = 'SCRAM-SHA-256' then
    return coalesce(substring(actual from '^[^,]*,[^,]*'), scram_iterations || ',' || encode(salt, 'base64'))
      || ',' || encode(first_key, 'base64') || ',' || encode(second_key, 'base64');
  end if;
  -- the base64 of the PHC string format has no padding
  return coalesce(
      substring(actual from '^.*[$]'),
      '$argon2id$v=19$m=7168,t=5,p=1$' || rtrim(encode(salt, 'base64'), '=') || '$'
    ) || rtrim(encode(first_key, 'base64'), '=');
end;
$$;
