//! Storage of a Runtime or Backend: blobs by digest, small records under ordered keys, and the data folder that holds
//! both on this machine.
//!
//! A store knows nothing of workspaces or bundles. The code above it decides which workspace a blob belongs to and
//! which records change together. [`BlobStore`](blob_store::BlobStore) and [`MetadataStore`](metadata::MetadataStore)
//! are the traits. Each has an implementation in memory and others behind the features `files`, `s3` and `sqlite`. All
//! implementations of a trait pass the same tests.
//!
//! ```
//! use bundles::Digest;
//! use content_store::blob_store::{BlobStore, MemoryBlobs, source_from};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let blobs = MemoryBlobs::new(1 << 20);
//! let digest = Digest::of(b"hello");
//! blobs.put(digest, source_from(&b"hello"[..]), 1024).await?;
//! assert_eq!(&blobs.get(digest, 1024).await?[..], b"hello");
//! # Ok::<(), content_store::blob_store::BlobError>(())
//! # }).unwrap();
//! ```

pub mod blob_store;
#[cfg(feature = "files")]
mod data_folder;
pub mod durable_folder;
pub mod metadata;
#[cfg(any(feature = "files", feature = "sqlite"))]
mod pinned;
pub mod records;

#[cfg(feature = "files")]
pub use data_folder::{DataFolder, DataFolderError};
