//! Parameters and columns in PostgreSQL's types.

use bytes::BytesMut;
use postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::value::Value;

/// `?1` as PostgreSQL writes it, `$1`; quoted text is left alone.
pub(super) fn with_dollars(sql: &str) -> String {
    let mut quoted = false;
    let change = |c: char| {
        quoted ^= c == '\'';
        if c == '?' && !quoted { '$' } else { c }
    };
    sql.chars().map(change).collect()
}

/// Integers are BIGINT always; the server infers the type of a NULL from its place.
pub(super) fn type_of(value: &Value<'_>) -> Type {
    match value {
        Value::Null => Type::UNKNOWN,
        Value::Integer(_) => Type::INT8,
        Value::Text(_) => Type::TEXT,
        Value::Bytes(_) => Type::BYTEA,
    }
}

pub(super) fn as_params<'a>(params: &'a [Value<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    params
        .iter()
        .map(|value| value as &(dyn ToSql + Sync))
        .collect()
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match (self, kind) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Integer(integer), &Type::INT4) => i32::try_from(*integer)?.to_sql(kind, out),
            (Self::Integer(integer), &Type::INT8) => integer.to_sql(kind, out),
            (Self::Text(text), &Type::TEXT | &Type::VARCHAR | &Type::UNKNOWN) => {
                text.to_sql(kind, out)
            }
            (Self::Bytes(bytes), &Type::BYTEA) => bytes.as_ref().to_sql(kind, out),
            _ => Err(format!(
                "a parameter of type {} where the statement wants {kind}",
                type_of(self)
            )
            .into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// An integer column of any width.
pub(crate) struct Integer(pub(crate) i64);

impl<'a> FromSql<'a> for Integer {
    fn from_sql(
        kind: &Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        match *kind {
            Type::INT2 => i16::from_sql(kind, raw).map(|integer| Self(integer.into())),
            Type::INT4 => i32::from_sql(kind, raw).map(|integer| Self(integer.into())),
            _ => i64::from_sql(kind, raw).map(Self),
        }
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::INT2 | Type::INT4 | Type::INT8)
    }
}
