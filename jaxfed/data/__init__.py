"""Hospitals' data: from your own arrays and tables, loaders, partitioners, synthetic hospitals."""

from jaxfed.data.arrays import from_arrays as from_arrays
from jaxfed.data.examples import breast_cancer as breast_cancer
from jaxfed.data.examples import digits as digits
from jaxfed.data.examples import from_partition as from_partition
from jaxfed.data.frame import from_frame as from_frame
from jaxfed.data.heart import heart_disease as heart_disease
from jaxfed.data.heterogeneity import heterogeneity as heterogeneity
from jaxfed.data.missing import impute as impute
from jaxfed.data.notices import DataWarning as DataWarning
from jaxfed.data.oracle import oracle_auroc as oracle_auroc
from jaxfed.data.oracle import truth_table as truth_table
from jaxfed.data.partition import classes_per_hospital as classes_per_hospital
from jaxfed.data.partition import dirichlet as dirichlet
from jaxfed.data.partition import dirichlet_by_class as dirichlet_by_class
from jaxfed.data.partition import gamma_similarity as gamma_similarity
from jaxfed.data.partition import iid as iid
from jaxfed.data.partition import shards as shards
from jaxfed.data.population import PRESETS as PRESETS
from jaxfed.data.quantity import dirichlet_sizes as dirichlet_sizes
from jaxfed.data.quantity import lognormal_sizes as lognormal_sizes
from jaxfed.data.quantity import zipf_sizes as zipf_sizes
from jaxfed.data.reading import read_table as read_table
from jaxfed.data.scaling import standardize as standardize
from jaxfed.data.splits import resplit as resplit
from jaxfed.data.synthetic import synthetic_ehr as synthetic_ehr
from jaxfed.data.unlabelled import unlabelled as unlabelled
