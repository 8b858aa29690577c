-- A bigint version: its digits travel as text (version::text), since 2^53 is where JavaScript's numbers end.
create table if not exists stock (
  id bigint primary key,
  quantity integer not null,
  version bigint not null
);

insert into stock (id, quantity, version)
values (1, 12, 3), (2, 0, 9007199254740993)
on conflict (id) do nothing;
