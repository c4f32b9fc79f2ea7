//! Comparison of JSON numbers by mathematical value: `2.0` is the integer 2.

use std::cmp::Ordering;

use serde_json::Number;

/// A number in a normal form, in which equal numbers have equal representations.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Numeric {
    /// An integer with an absolute value below 2^100.
    Integer(i128),
    /// Any other number.
    Real(f64),
}

/// Upper limit on the absolute value of [`Numeric::Integer`]: 2^100.
const INTEGER_LIMIT: f64 = 1_267_650_600_228_229_401_496_703_205_376.0;

impl From<&Number> for Numeric {
    fn from(number: &Number) -> Self {
        if let Some(integer) = number.as_i64() {
            return Self::Integer(integer.into());
        }
        if let Some(integer) = number.as_u64() {
            return Self::Integer(integer.into());
        }
        let real = number.as_f64().unwrap_or(f64::NAN);
        if real.fract() == 0.0 && real.abs() < INTEGER_LIMIT { Self::Integer(real as i128) } else { Self::Real(real) }
    }
}

impl Numeric {
    pub(crate) fn is_integer(self) -> bool {
        match self {
            Self::Integer(_) => true,
            Self::Real(real) => real.fract() == 0.0,
        }
    }

    pub(crate) fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Integer(one), Self::Integer(two)) => one.cmp(&two),
            (Self::Real(one), Self::Real(two)) => one.total_cmp(&two),
            (Self::Integer(one), Self::Real(two)) => compare_mixed(one, two),
            (Self::Real(one), Self::Integer(two)) => compare_mixed(two, one).reverse(),
        }
    }

    /// Returns bits that are equal for equal numbers.
    pub(crate) fn bits(self) -> i128 {
        match self {
            Self::Integer(integer) => integer,
            Self::Real(real) => i128::from(real.to_bits()) << 64,
        }
    }
}

fn compare_mixed(integer: i128, real: f64) -> Ordering {
    if real.abs() >= INTEGER_LIMIT {
        return if real > 0.0 { Ordering::Less } else { Ordering::Greater };
    }
    // `real` is not integral, so it lies between its floor and the next integer.
    if integer <= real.floor() as i128 { Ordering::Less } else { Ordering::Greater }
}

/// A decimal number: `digits` × 10^`exponent`.
#[derive(Clone, Copy)]
struct Decimal {
    digits: u128,
    exponent: i32,
}

impl Decimal {
    /// Converts the shortest decimal representation of a number. The sign is dropped.
    fn of(number: &Number) -> Option<Self> {
        let text = number.to_string();
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: u128 = 0;
        for digit in whole.trim_start_matches('-').chars().chain(fraction.chars()) {
            digits = digits.checked_mul(10)?.checked_add(digit.to_digit(10)?.into())?;
        }
        let exponent = exponent.parse::<i32>().ok()?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        Some(Self { digits, exponent })
    }
}

/// `true` if `number` is an integer multiple of `divisor` in decimal arithmetic: 0.3 is three times 0.1.
pub(crate) fn is_multiple(number: &Number, divisor: &Number) -> bool {
    let (Some(number), Some(divisor)) = (Decimal::of(number), Decimal::of(divisor)) else { return false };
    if divisor.digits == 0 || number.digits == 0 {
        return number.digits == 0;
    }
    let shift = number.exponent.saturating_sub(divisor.exponent);
    let power = shift.unsigned_abs();
    if shift >= 0 {
        return times_power_of_ten(number.digits, power, divisor.digits) == Some(0);
    }
    // An overflow means that the divisor is larger than the number, which then is not a multiple.
    10u128
        .checked_pow(power)
        .and_then(|scale| divisor.digits.checked_mul(scale))
        .and_then(|divisor| number.digits.checked_rem(divisor))
        == Some(0)
}

/// Returns `number` × 10^`power` modulo `modulus`. The digits of a JSON number are below 2^64, so products do not
/// overflow.
fn times_power_of_ten(number: u128, mut power: u32, modulus: u128) -> Option<u128> {
    let (mut rest, mut square) = (number.checked_rem(modulus)?, 10u128.checked_rem(modulus)?);
    while power > 0 {
        if power % 2 == 1 {
            rest = rest.checked_mul(square)?.checked_rem(modulus)?;
        }
        square = square.checked_mul(square)?.checked_rem(modulus)?;
        power /= 2;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_str};

    use super::*;

    fn number(text: &str) -> Number {
        match from_str::<Value>(text) {
            Ok(Value::Number(number)) => number,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn multiples_use_decimal_arithmetic() {
        let multiples = [
            ("0.3", "0.1"),
            ("0.0075", "0.0001"),
            ("1e300", "0.5"),
            ("-9", "3"),
            ("0", "7"),
            ("7.0", "3.5"),
            ("1e308", "1e308"),
        ];
        for (one, two) in multiples {
            assert!(is_multiple(&number(one), &number(two)), "{one} {two}");
        }
        for (one, two) in [
            ("0.35", "0.1"),
            ("1", "2"),
            ("1e-300", "1e300"),
            ("1e308", "3"),
            ("1e300", "18446744073709551615"),
            ("18446744073709551615", "2"),
        ] {
            assert!(!is_multiple(&number(one), &number(two)), "{one} {two}");
        }
    }

    #[test]
    fn numbers_are_compared_by_value() {
        let compare = |one: &str, two: &str| Numeric::from(&number(one)).compare((&number(two)).into());
        assert_eq!(compare("2.0", "2"), Ordering::Equal);
        assert_eq!(compare("18446744073709551615", "18446744073709551614"), Ordering::Greater);
        assert_eq!(compare("9007199254740993", "9007199254740992.0"), Ordering::Greater);
        assert_eq!(compare("-1.5", "-1"), Ordering::Less);
        assert_eq!(compare("-1e300", "-5"), Ordering::Less);
        assert_eq!(compare("1e300", "1e301"), Ordering::Less);
    }
}
